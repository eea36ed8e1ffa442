"""The vocabulary of the generated world: six categories of labels, numbered throughout."""

from workflow_scripts.data.world.palette import PROTOTYPES
from workflow_scripts.data.world.patterns import MATERIALS, TEXTURES

OBJECTS = (
    *("house", "tree", "car", "boat", "fish", "flower", "cup", "lamp"),
    *("rocket", "umbrella", "mushroom", "clock", "chair", "bird", "ice_cream", "butterfly"),
)

# Classes without an object: a view, or a surface that fills the picture.
VIEWS = ("beach", "brick", "scales", "honeycombed")
CLASSES = (*OBJECTS, *VIEWS)

SCENES = (
    *("beach", "mountains", "field", "night", "city", "room"),
    *("road", "forest", "desert", "underwater", "snowfall", "stage"),
)

# Broden's order of the columns of index.csv.
NAMES = {
    "color": tuple(f"{name}-c" for name in PROTOTYPES),
    "object": (
        *OBJECTS,
        *("sky", "sea", "sand", "mountain", "lawn", "ground", "moon", "building", "street", "floor"),
        *("room_wall", "dune", "water", "seaweed", "snow", "curtain", "podium"),
    ),
    "part": (
        *("wall", "roof", "door", "window", "chimney", "trunk", "foliage", "car_body", "wheel", "hub"),
        *("hull", "sail", "pole", "fish_body", "tail", "fin", "eye", "stem", "leaf", "petal"),
        *("centre", "cup_body", "handle", "shade", "base", "rocket_body", "nose", "flame", "canopy"),
        *("cap", "stalk", "spot", "rim", "face", "hand", "seat", "back", "leg"),
        *("bird_body", "head", "beak", "wing", "antenna", "cone", "scoop", "cherry"),
    ),
    "material": tuple(MATERIALS),
    "scene": tuple(f"{name}-s" for name in SCENES),
    "texture": tuple(TEXTURES),
}
CATEGORIES = tuple(NAMES)

# Label numbers run through all categories and begin at 1; 0 is the background.
NUMBERS = {
    pair: number
    for number, pair in enumerate(((category, name) for category in CATEGORIES for name in NAMES[category]), start=1)
}
