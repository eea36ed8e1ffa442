"""Read what the gallery shows of a validation: what chance gives each unit, and how often halves of pictures agree."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from workflow_scripts.shared.files import UserError, reading, require_file

SHARES = {"iou_chance": ("chance", 6), "agreement": ("agreement", 3)}  # what a data script calls them, and their digits
COLUMNS = ("layer", "unit", "label", "iou", *SHARES)
AGAIN = "validate that network's units again"


class Validation:
    """A network's nulls.csv, as `validate_units` writes it.

    Raises UserError if it is missing or damaged, or lacks a column.
    """

    def __init__(self, nulls: str | Path) -> None:
        self.path = nulls
        require_file(nulls, AGAIN)
        with reading(nulls, ValueError):
            # Every cell as text first: a layer or a concept may be called "7" or "NA".
            self.rows = pd.read_csv(nulls, dtype=str, keep_default_na=False)
        lacking = [column for column in COLUMNS if column not in self.rows.columns]
        if lacking:
            raise self.refused(f"has no column {lacking[0]}")

    def columns(self, layer: str, labels: Sequence[str], ious: np.ndarray) -> dict:
        """What the layer's data script says of its units, given the best concept of each and its IoU, (U).

        A unit without a concept has the label "" and IoU 0. Raises UserError if the file has not each of these units
        once, with that concept and IoU, or has a cell that is no share.
        """
        rows = self.rows[self.rows["layer"] == layer].set_index("unit")
        if rows.empty:
            raise self.refused(f"has no layer {layer}")
        units = [str(unit) for unit in range(len(labels))]
        lacking = [unit for unit in units if unit not in rows.index]
        if lacking:
            raise self.refused(f"has no unit {lacking[0]} of {layer}")
        if len(rows) > len(units):
            raise self.refused(f"has more rows of {layer} than its {len(units)} units")
        rows = rows.loc[units]
        same_iou = np.isclose(pd.to_numeric(rows["iou"], errors="coerce"), ious, rtol=1e-9, atol=0)
        if list(labels) != rows["label"].tolist() or not same_iou.all():
            raise self.refused(f"has other concepts of {layer}'s units than its tally")
        return {name: self.shares(rows[column], digits) for column, (name, digits) in SHARES.items()}

    def shares(self, text: pd.Series, digits: int) -> list[float]:
        """The numbers of a column, which are from 0 to 1, rounded."""
        numbers = pd.to_numeric(text, errors="coerce")
        wrong = ~numbers.between(0, 1)
        if wrong.any():
            raise self.refused(f'has "{text[wrong].iloc[0]}" in column {text.name} where a number from 0 to 1 belongs')
        return [round(float(number), digits) for number in numbers]

    def refused(self, problem: str) -> UserError:
        """The error for a problem of the file, with what to do."""
        return UserError(f"{self.path} {problem}: {AGAIN}")
