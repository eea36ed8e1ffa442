"""Decoding picture files, in one way for all pictures that a network is shown."""

import io
import logging
import warnings

import numpy as np
import simplejpeg
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from workflow_scripts.shared.files import UserError, reading, system_reason, unreadable
from workflow_scripts.shared.limits import limit, raise_limit

# The supported formats, with the endings of their files. Pillow knows many more, and starts a program for one of them.
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "WebP": (".webp",),
    "TIFF": (".tif", ".tiff"),
}
IMAGE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
MOST_PIXELS_PER_BYTE = 1024  # in a JPEG; a JPEG of a single colour has 256
MOST_SCANS = 50  # of a JPEG with as many pixels as are allowed: usual ones have 10, and each takes its time
ORIENTATION = ExifTags.Base.Orientation
SAMPLE_FORMAT = 339  # a tag of TIFF
TURNS = range(2, 9)  # the values of ORIENTATION that ask for a turn
START_OF_SCAN = b"\xff\xda"  # the first ends a JPEG's header; compressed data do not have it
EXIF_START = b"Exif\0\0"

# Pillow's warnings name no file, and those that matter are errors here.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)


def decode(data: bytes, path: str, turned: list[str] | None = None) -> np.ndarray:
    """Return the picture in the file `path`, whose bytes are `data`, as uint8 (height, width, 3), RGB.

    It may have any format in FORMATS, whatever the file's ending: ImageNet has a PNG called .JPEG. Pictures in black
    and white, in grey, with a palette, and in CMYK, YCbCr and LAB are converted to RGB by Pillow; transparency is
    dropped, so that the colours beneath show. A rotation in the EXIF data is ignored, because common practice trains
    and tests on ImageNet without it; `path` is added to `turned` instead.

    Raises:
        UserError: it has another format or is not an intact picture, or has more than 8 bits a channel, several frames
            or more pixels than the config's limit.
    """
    with reading(path):
        try:
            height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
            if height * width > MOST_PIXELS_PER_BYTE * len(data):
                raise UserError(f"{path} is too short for its size of {height} x {width} pixels: replace or remove it")
            # Published networks were trained with Pillow's conversion of CMYK.
            require_size(path, height, width)
            if data.count(START_OF_SCAN) * height * width > MOST_SCANS * most_pixels():
                raise UserError(f"{path} has too many scans for its size of {height} x {width}: convert or remove it")
            if colours in ("YCbCr", "RGB", "Gray"):
                pixels = simplejpeg.decode_jpeg(data)
                if turned is not None and jpeg_asks_for_turn(data):
                    turned.append(path)
                return pixels
        except (ValueError, KeyError):
            pass  # another format, a rare subsampling, or a small defect: Pillow rejects only pictures that lack rows
        image = open_picture(data, path, turned=turned)
        return np.array(image.convert("RGB"))


def open_picture(
    data: bytes,
    path: str,
    formats: tuple[str, ...] = tuple(FORMATS),
    turned: list[str] | None = None,
    deep_grey: bool = False,
) -> Image.Image:
    """Return the picture in the file `path`, whose bytes are `data`, in its own mode; otherwise like `decode`.

    With `deep_grey`, a single channel may have 16 bits, as in label maps.
    """
    Image.MAX_IMAGE_PIXELS = most_pixels()  # Pillow itself refuses twice as many, before it allocates them
    try:
        with Image.open(io.BytesIO(data), formats=formats) as image:
            require_size(path, image.height, image.width)
            # An MPO is a camera's JPEG with previews after the photo.
            if image.format != "MPO" and (frames := getattr(image, "n_frames", 1)) > 1:
                raise UserError(f"{path} holds {frames} frames or pages: keep one of them")
            if is_deep(image, data) and not (deep_grey and image.mode == "I;16"):
                raise UserError(
                    f"{path} has more than 8 bits a channel, or signed values, which would be clipped: convert it"
                )
            if take_turn(image) and turned is not None:
                turned.append(path)
            image.load()
    except UserError:
        raise
    except UnidentifiedImageError:
        *others, last = formats
        known = f"{', '.join(others)} or {last}" if others else last
        raise UserError(
            f"{path} is not a whole {known} picture of at most 8 bits a channel: convert, replace or remove it"
        ) from None
    except Image.DecompressionBombError:
        raise UserError(
            f"{path} says that it has more than {2 * most_pixels() / 1e6:g} million pixels: replace or remove it, or"
            f" {raise_limit('picture_megapixels')}"
        ) from None
    except Exception as error:  # Pillow may raise any error for a damaged file
        if reason := system_reason(error):
            raise unreadable(path, reason) from error
        raise UserError(f"{path} is not a whole picture ({error}): replace or remove it") from None
    return image


def most_pixels() -> int:
    """Return how many pixels a picture or a label map may have."""
    return int(limit("picture_megapixels") * 1e6)


def require_size(what: str, height: int, width: int) -> None:
    """Raise UserError if a picture or a label map has more pixels than the config's limit; `what` names it."""
    if height * width > most_pixels():
        raise UserError(
            f"{what} has {height} x {width} pixels: replace or remove it, or {raise_limit('picture_megapixels')}"
        )


def scaled_sides(path: str, height: int, width: int, shorter: int) -> tuple[int, int]:
    """Return the height and width of a picture whose shorter side is scaled to `shorter` pixels.

    Raises:
        UserError: the picture in the file `path` is so narrow that it would then have more pixels than are allowed.
    """
    sides = shorter * height // min(height, width), shorter * width // min(height, width)
    require_size(f"{path}, scaled so that its shorter side has {shorter} pixels,", *sides)
    return sides


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Tell whether a picture, opened from `data`, has more than 8 bits a channel."""
    if image.format == "PNG":
        return data[24] > 8  # Pillow reduces colours of 16 bits to 8
    if isinstance(image, TiffImageFile):
        bits, kinds = (image.tag_v2.get(tag, (1,)) for tag in (ExifTags.Base.BitsPerSample, SAMPLE_FORMAT))
        return max(bits) > 8 or max(kinds) > 1  # here, too; kinds are unsigned numbers, signed numbers, and so on
    return False


def take_turn(image: Image.Image) -> bool:
    """Tell whether EXIF data ask for a turn, and remove it, because Pillow turns a TIFF while loading it."""
    if image.format == "PNG":
        image.load()  # its EXIF data may come after its pixels
    try:
        return image.getexif().pop(ORIENTATION, 1) in TURNS
    except Exception:  # damaged EXIF data are ignored
        return False


def jpeg_asks_for_turn(data: bytes) -> bool:
    """Tell whether the EXIF data of a JPEG ask for a turn, without opening it again."""
    header = data[: data.find(START_OF_SCAN)]
    start = header.find(EXIF_START)
    if start < 0:
        return False
    exif = Image.Exif()
    try:
        exif.load(header[start:])
        return exif.get(ORIENTATION, 1) in TURNS
    except Exception:  # damaged EXIF data are ignored
        return False


def tell_turned(turned: list[str]) -> None:
    """Log how many pictures ask for a turn that is ignored, with an example."""
    if turned:
        logging.warning(
            "%d pictures ask for a turn in their EXIF data, but are used as they are stored, such as %s",
            len(turned),
            min(turned),
        )
