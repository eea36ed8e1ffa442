"""Decoding a picture file as ImageNet's are decoded."""

import io

import numpy as np
import simplejpeg
from PIL import Image, UnidentifiedImageError

from workflow_scripts.data.broden_layout import DECODING_ERRORS
from workflow_scripts.files import UserError


def read_file(path: str) -> bytes:
    """Return a file's bytes; UserError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): restore it or its permissions") from None


def decode(data: bytes, path: str) -> np.ndarray:
    """Return the picture that the file `path` holds as `data`, uint8 (height, width, 3), red, green and blue.

    A turn that its EXIF data ask for is not done, for ImageNet is trained and tested without by common practice.

    Raises:
        UserError: it is not a whole picture, or one with more than 8 bits a channel.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        if colours in ("YCbCr", "RGB", "Gray") and height * width <= Image.MAX_IMAGE_PIXELS:
            return simplejpeg.decode_jpeg(data)
    except (ValueError, KeyError):
        pass  # another format, a rare subsampling, or a blemish: Pillow tells those that lack rows from the others
    # Pillow's conversion of CMYK is the one that published networks were trained with.
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.mode[0] in "IF":
                raise ValueError("it has more than 8 bits a channel")
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError:
        raise UserError(f"{path} is of no picture format that is known: replace or remove it") from None
    except DECODING_ERRORS as error:
        raise UserError(f"{path} is not a whole picture ({error}): replace or remove it") from None
