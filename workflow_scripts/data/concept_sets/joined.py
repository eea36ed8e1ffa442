"""Sets of labelled pictures joined into one, as Broden was (Bau et al. 2017): names merged, label maps of one size."""

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy as np

from workflow_scripts.data.broden_layout import LARGEST_NUMBER, Labelled, NumberedLabel, squeeze
from workflow_scripts.data.concept_sets.reader import Annotation, Label, Reader, nearest
from workflow_scripts.data.csv_tables import table_rows
from workflow_scripts.data.decode import decode
from workflow_scripts.data.world.palette import PROTOTYPES, nearest_colours
from workflow_scripts.shared.concept_names import COLOUR, SUFFIXES
from workflow_scripts.shared.files import UserError
from workflow_scripts.shared.progress import Progress

ORDER = (COLOUR, "object", "part", "material", "scene", "texture")  # Broden's order; other categories follow, by name
MOST_CATEGORIES = 2**8  # concepts.h5 numbers them in one byte
AT_ONCE = 1024  # pictures whose label maps are counted together
SHIPPED_SYNONYMS = Path(__file__).with_name("tables") / "synonyms.csv"


@dataclass(frozen=True)
class Rules:
    """How sets are joined.

    Attributes:
        side: the side of all label maps, in pixels.
        colours: whether pictures of sets without colour labels get the nearest of eleven basic colours at each pixel.
        synonyms: the name that replaces another.
        categories: the category of a label, by its name, instead of the set's category.
        least_pictures: labels that fewer pictures carry are left out,
        least_pixels: and those that fewer pixels carry, over all label maps. Computed colours stay.
        largest_share: the largest share of all pictures that one set may have.
    """

    side: int
    colours: bool = False
    synonyms: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    least_pictures: int = 0
    least_pixels: int = 0
    largest_share: float = 1.0


class JoinedSet:
    """Several sets as one, for `pack_concepts`.

    Attributes:
        categories, labels, height, width, names, splits: as in `ConceptSet`.
    """

    def __init__(self, sets: Mapping[str, Reader], rules: Rules, threads: int = 1) -> None:
        """Merge the sets' labels, and choose their pictures; read all label maps only if rare labels are left out.

        Args:
            sets: readers by their sets' names.
            rules: how they are joined.
            threads: threads that decode label maps.

        Raises:
            UserError: a label's name or category is empty or not text, `rules` give a category to an unknown label, a
                category is left without labels or a set without pictures, or there are too many labels or categories;
                or as in the readers.
        """
        self.rules, self.height, self.width = rules, rules.side, rules.side
        self._readers = list(sets.values())
        self._merged = [
            [merged(label, rules, f"concepts.sources, {name}") for label in reader.labels]
            for name, reader in sets.items()
        ]
        self._computes_colours = [
            rules.colours and all(category != COLOUR for _, category in labels) for labels in self._merged
        ]
        known = {plain_name(label, rules) for reader in self._readers for label in reader.labels}
        if unknown := sorted(set(rules.categories) - known):
            raise UserError(
                f"concepts.categories has {unknown[0]!r}, but no set has such a label: correct or remove it"
            )
        self._pictures = [
            (place, index) for place, chosen in enumerate(choose(sets, rules.largest_share)) for index in chosen
        ]
        names = list(sets)
        self.names = [
            # File names may have other encodings.
            os.fsencode(f"{names[place]}/{self._readers[place].names[index]}").decode(errors="replace")
            for place, index in self._pictures
        ]
        self.splits = [""] * len(self.names)
        self._number(self._kept_labels(threads))

    def _kept_labels(self, threads: int) -> set[tuple[str, str]]:
        """Return the labels (name, category) that occur often enough."""
        labels = {label for of_set in self._merged for label in of_set}
        rules = self.rules
        if rules.least_pictures or rules.least_pixels:
            pictures, pixels = self._count(threads)
            kept = {
                label
                for label in labels
                if pictures[label[0]] >= rules.least_pictures and pixels[label[0]] >= rules.least_pixels
            }
            if emptied := sorted({category for _, category in labels} - {category for _, category in kept}):
                raise UserError(
                    f"no label of the category {emptied[0]} is carried by {rules.least_pictures} pictures and"
                    f" {rules.least_pixels} pixels: lower concepts.least_pictures or least_pixels"
                )
            logging.info("%d of %d labels are left out because they are too rare", len(labels - kept), len(labels))
            labels = kept
        if any(self._computes_colours):
            labels |= {(f"{name}{SUFFIXES[COLOUR]}", COLOUR) for name in PROTOTYPES}
        return labels

    def _count(self, threads: int) -> tuple[Counter[str], Counter[str]]:
        """Return how many pictures, and how many pixels of label maps, carry each name."""
        pictures: Counter[str] = Counter()
        pixels: Counter[str] = Counter()
        progress = Progress("label maps counted", len(self._pictures))
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for start in range(0, len(self._pictures), AT_ONCE):
                for areas in pool.map(self._areas, self._pictures[start : start + AT_ONCE]):
                    pictures.update(areas.keys())
                    pixels.update(areas)
                progress.log(min(start + AT_ONCE, len(self._pictures)))
        progress.finish()
        return pictures, pixels

    def _areas(self, picture: tuple[int, int]) -> dict[str, int]:
        """Return how many pixels of a picture's label maps carry each of its names."""
        place, index = picture
        annotation, names = self._readers[place].annotation(index), self._merged[place]
        masks: dict[str, np.ndarray] = {}
        for plane in annotation.planes:
            small = nearest(plane, self.height, self.width)
            for position in np.unique(small[small > 0]).tolist():
                mask, name = small == position, names[position - 1][0]
                masks[name] = masks[name] | mask if name in masks else mask
        for position in annotation.whole:
            masks[names[position][0]] = np.ones((self.height, self.width), bool)
        return {name: int(np.count_nonzero(mask)) for name, mask in masks.items()}

    def _number(self, labels: set[tuple[str, str]]) -> None:
        """Number the labels, by category and name, and record the numbers of each set's labels."""
        found = {category for _, category in labels}
        self.categories = (*(name for name in ORDER if name in found), *sorted(found - set(ORDER)))
        place_of = {category: place for place, category in enumerate(self.categories)}
        of_name: dict[str, list[int]] = {}
        for name, category in sorted(labels, key=lambda label: (place_of[label[1]], label[0])):
            of_name.setdefault(name, []).append(place_of[category])
        if len(of_name) > LARGEST_NUMBER:
            raise UserError(
                f"the sets have {len(of_name)} labels, but only {LARGEST_NUMBER} can be numbered: join fewer"
            )
        if len(found) > MOST_CATEGORIES:
            raise UserError(
                f"the sets have {len(found)} categories, but only {MOST_CATEGORIES} can be numbered: correct the column"
                " category of their tables"
            )
        self.labels = tuple(
            NumberedLabel(number, name, tuple(places)) for number, (name, places) in enumerate(of_name.items(), 1)
        )
        number_of = {label.name: label.number for label in self.labels}
        self._codes = []  # for each set: number and category at each position plus 1; number 0 if left out
        for of_set in self._merged:
            numbers, places_of_set = np.zeros(len(of_set) + 1, np.uint16), np.zeros(len(of_set) + 1, np.uint8)
            for position, label in enumerate(of_set, 1):
                if label in labels:
                    numbers[position], places_of_set[position] = number_of[label[0]], place_of[label[1]]
            self._codes.append((numbers, places_of_set))
        if any(self._computes_colours):
            self._colours = np.array([number_of[f"{name}{SUFFIXES[COLOUR]}"] for name in PROTOTYPES], np.uint16)

    def picture(self, index: int, turned: list[str] | None = None) -> np.ndarray:
        """Return a picture, uint8 (h, w, 3), RGB; otherwise like `decode`."""
        place, inside = self._pictures[index]
        data, path = self._readers[place].picture(inside)
        return decode(data, path, turned)

    def labelled(self, index: int, picture: np.ndarray) -> Labelled:
        """Return the labels of a picture; `picture` is what the method `picture` returns.

        Raises:
            UserError: its label maps have other proportions than the picture, or differ in size; or as in the reader.
        """
        place, inside = self._pictures[index]
        annotation = self._readers[place].annotation(inside)
        self._require_shape(annotation, index, picture)
        number, category = self._codes[place]
        planes, of_planes = [], []
        for plane in annotation.planes:
            small = nearest(plane, self.height, self.width)
            numbers = number[small]
            categories = category[small]
            for present in np.unique(categories[numbers > 0]).tolist():
                planes.append(np.where(categories == present, numbers, 0))
                of_planes.append(present)
        if self._computes_colours[place]:
            planes.append(self._colours[nearest_colours(squeeze(picture, 2 * self.height))])
            of_planes.append(self.categories.index(COLOUR))
        whole = [(int(category[position + 1]), int(number[position + 1])) for position in annotation.whole]
        return Labelled(
            np.array(planes, np.uint16).reshape(-1, self.height, self.width),
            np.array(of_planes, int),
            tuple(label for label in whole if label[1]),
        )

    def _require_shape(self, annotation: Annotation, index: int, picture: np.ndarray) -> None:
        shapes = {plane.shape for plane in annotation.planes}
        if len(shapes) > 1:
            raise UserError(f"{self.names[index]} has label maps of {len(shapes)} sizes: give them one size")
        aligned = self._readers[self._pictures[index][0]].aligned
        for height, width in shapes if aligned else ():
            # In a scaled picture, each side may be rounded by a pixel.
            tall, wide = picture.shape[:2]
            if abs(height * wide - width * tall) > max(tall, wide, height, width):
                raise UserError(
                    f"{self.names[index]} is {tall} x {wide}, but its label map is {height} x {width}, with other"
                    " proportions: give both the same proportions"
                )


def merged(label: Label, rules: Rules, place: str) -> tuple[str, str]:
    """Return the name and the category under which a set's label counts."""
    name = plain_name(label, rules)
    category = rules.categories.get(name, label.category.strip())
    if not name or not category:
        raise UserError(f"{place}: the {'label' if not name else f'category of {name}'} has no name: give it one")
    if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in name + category):
        raise UserError(f"{place}: the label {name!r} of {category!r} has characters that are not text: rename it")
    suffix = SUFFIXES.get(category, "")
    return (name if name.endswith(suffix) else name + suffix), category


def plain_name(label: Label, rules: Rules) -> str:
    """Return a label's plain name, or the name that replaces it."""
    name = plain(label.name)
    return rules.synonyms.get(name, name)


def plain(name: str) -> str:
    """Return a name in lower case, with single blanks instead of _ and of repeated blanks."""
    return " ".join(name.lower().replace("_", " ").split())


def choose(sets: Mapping[str, Reader], largest_share: float) -> Iterator[list[int]]:
    """Yield the pictures of each set that count, in its order.

    Each set gives as many pictures as possible without any set exceeding its share. The choice follows only from the
    pictures' names, by SHA-256, so it is the same on any machine, and stays when others are added.

    Raises:
        UserError: a set has no pictures, or no choice satisfies the share.
    """
    for name, reader in sets.items():
        if not reader.names:
            raise UserError(f"concepts.sources, {name}: it has no pictures: correct it, or leave it out")
    counts = bounded_counts([len(reader.names) for reader in sets.values()], largest_share)
    for reader, count in zip(sets.values(), counts, strict=True):
        names = reader.names
        drawn = sorted(
            range(len(names)), key=lambda i: hashlib.sha256(names[i].encode(errors="surrogateescape")).digest()
        )
        yield sorted(drawn[:count])


def bounded_counts(sizes: list[int], largest_share: float) -> list[int]:
    """Return the largest counts, at most `sizes`, none of which exceeds the share of their sum."""
    share = Fraction(str(largest_share))
    if share * len(sizes) < 1:
        raise UserError(
            f"concepts.largest_share is {largest_share}, which {len(sizes)} sources cannot all satisfy: write at least"
            f" {ceil(Fraction(1000, len(sizes))) / 1000}"
        )
    counts = list(sizes)
    while True:
        most = int(share * sum(counts))
        bounded = [min(count, most) for count in counts]
        if bounded == counts:
            return counts
        counts = bounded


def read_synonyms(synonyms: str) -> dict[str, str]:
    """Return which name replaces each synonym: for "none", for the "shipped" table, or from a CSV (name, same_as).

    Raises:
        UserError: the file cannot be read, a name is in it twice, or a name is replaced by one that is itself replaced.
    """
    if synonyms == "none":
        return {}
    path = SHIPPED_SYNONYMS if synonyms == "shipped" else Path(synonyms)
    found: dict[str, str] = {}
    for place, row in table_rows(path, ["name", "same_as"]):
        name, same_as = plain(row["name"]), plain(row["same_as"])
        if not name or not same_as or name in found:
            raise UserError(f"{place}: the name {name!r} is a duplicate, or a name is missing: correct the row")
        found[name] = same_as
    for name, same_as in found.items():
        if same_as in found:
            raise UserError(
                f"{path}: {name!r} is the same as {same_as!r}, which is itself the same as another: give the last name"
            )
    return found
