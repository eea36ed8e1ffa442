"""Sizes of pictures: one number of pixels for a square, or height and width."""

import argparse
import re
from collections.abc import Sequence

Size = int | Sequence[int]


def sides(size: Size) -> tuple[int, int]:
    """Return the height and width of pictures of a size, in pixels."""
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)


def size_text(size: Size) -> str:
    """Return a size as scripts take it and as file names contain it: "224", or "224x160", height first."""
    height, width = sides(size)
    return f"{height}" if height == width else f"{height}x{width}"


def read_size(text: str) -> Size:
    """Parse a size that `size_text` has written; argparse turns the error into a message."""
    if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*)?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size: write pixels, such as 224, or height and width, such as 224x160"
        )
    numbers = [int(number) for number in text.split("x")]
    return numbers[0] if len(set(numbers)) == 1 else (numbers[0], numbers[1])
