"""Sizes of pictures: one number of pixels for squares, or height and width."""

import argparse
import re
from collections.abc import Sequence

Size = int | Sequence[int]


def sides(size: Size) -> tuple[int, int]:
    """Return the height and width of pictures of a size, in pixels."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def size_text(size: Size) -> str:
    """Return a size as scripts take it and files are named by it: "224", or "224x160", height first."""
    height, width = sides(size)
    return f"{height}" if height == width else f"{height}x{width}"


def read_size(text: str) -> Size:
    """Return the size that a text means, as `size_text` writes it; argparse makes a sentence of the error."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write pixels, as 224, or height and width, as 224x160")
    numbers = [int(number) for number in text.split("x")]
    return numbers[0] if len(set(numbers)) == 1 else (numbers[0], numbers[1])
