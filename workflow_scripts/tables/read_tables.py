"""Reading the collected tables."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.plan.rotations import RECIPE
from workflow_scripts.shared.files import UserError, reading, require_file
from workflow_scripts.shared.limits import raise_limit
from workflow_scripts.shared.printable import printable
from workflow_scripts.shared.regular_files import most_bytes
from workflow_scripts.tables.columns import FILLED, TABLES, Kind

LONGEST_CELL = 60  # characters of a cell that a sentence shows

AGAIN = "run snakemake again, which collects the tables"


def read_table(path: Path) -> pd.DataFrame:
    """Read a table that `collect` or `compare_networks` wrote; names are str, unknown numbers are NaN.

    Raises:
        UserError: it is missing, is not that table, or has a cell that its column cannot have; see `columns`.
    """
    columns, keys = TABLES[path.stem]
    table = read_columns(path, columns, keys, AGAIN)
    if path.stem in FILLED:
        require_rows(path, table, AGAIN)
    return table


def read_columns(path: str | Path, columns: Mapping[str, Kind], keys: Sequence[str], again: str) -> pd.DataFrame:
    """Read a CSV file with at least these columns, in which no two rows have the same `keys`.

    Text is as `harmless` returns it.

    Raises:
        UserError: otherwise; the message ends with `again`, which says what to do.
    """
    require_whole_lines(path, again)
    require_once(path, columns, again)
    with reading(path, ValueError, OverflowError):
        # An arm, a layer or a concept may be called "7", "true" or "NA".
        table = pd.read_csv(
            path,
            dtype={name: str for name, kind in columns.items() if not kind.dtypes},
            keep_default_na=False,
            na_values={name: [""] for name, kind in columns.items() if kind.may_be_empty},
            index_col=False,
        )
    for name, kind in columns.items():
        if name not in table:
            raise UserError(f"{path} has no column {name}: {again}")
        if len(table) and not has_kind(table[name], kind):
            cell, number = first_other(path, name, kind)
            raise UserError(f"{path}, row {number}: {name} is {cell!r}, but must be {kind.words}: {again}")
        if not kind.dtypes:
            table[name] = harmless(table[name])
    if table.duplicated(list(keys)).any():
        twice = table.loc[table.duplicated(list(keys)), list(keys)].iloc[0]
        words = ", ".join(f"{name} {value}" for name, value in twice.items())
        raise UserError(f"{path} has two rows of {words}: {again}")
    return table


def require_rows(path: str | Path, table: pd.DataFrame, again: str) -> None:
    """Raise UserError for a table that has only a header; the message ends with `again`, which says what to do."""
    if table.empty:
        raise UserError(f"{path} has no rows: {again}")


def harmless(texts: pd.Series) -> pd.Series:
    """Texts as `printable` returns them."""
    return texts.map({text: printable(text) for text in texts.unique()})


def require_whole_lines(path: str | Path, again: str) -> None:
    """Raise UserError unless there is a file at `path`, not too large, that is empty or ends with a line."""
    size = require_file(path, again).st_size
    if size > most_bytes():
        raise UserError(f"{path} has {size / 1e9:.3g} GB: {again}, or {raise_limit('file_gb')}")
    if size:
        with reading(path), open(path, "rb") as file:
            file.seek(size - 1)
            if file.read() != b"\n":
                raise UserError(f"{path} ends within a line: {again}")


def require_once(path: str | Path, columns: Collection[str], again: str) -> None:
    """Raise UserError if the header of a CSV file has one of these columns twice, which pandas would rename."""
    with reading(path, ValueError):
        header = Counter(pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0])
    for name in columns:
        if header[name] > 1:
            raise UserError(f"{path} has the column {name} twice: {again}")


def has_kind(cells: pd.Series, kind: Kind) -> bool:
    """Tell whether all cells of a column are as they may be."""
    if not kind.dtypes:
        return not cells.isna().any() and (not kind.choices or bool(cells.isin(kind.choices).all()))
    if "b" in kind.dtypes:
        return cells.dtype.kind == "b" or (kind.may_be_empty and all(isinstance(cell, bool) for cell in cells.dropna()))
    if cells.dtype.kind not in kind.dtypes:
        return False
    return bool((cells.between(kind.low, kind.high) | (cells.isna() & kind.may_be_empty)).all())


def first_other(path: str | Path, name: str, kind: Kind) -> tuple[str, int]:
    """Return the first cell of a column that is not of a kind, as text, and the number of its row, from 1."""
    texts = pd.read_csv(path, usecols=[name], dtype=str, keep_default_na=False)[name].fillna("")
    number = next((place for place, text in enumerate(texts) if not is_cell(text, kind)), len(texts) - 1)
    return texts.iloc[number][:LONGEST_CELL], number + 1


def is_cell(text: str, kind: Kind) -> bool:
    """Tell whether a cell may have this text."""
    if not kind.dtypes:
        return not kind.choices or text in kind.choices
    if not text:
        return kind.may_be_empty
    if "b" in kind.dtypes:
        return text in ("True", "False")
    try:
        return kind.low <= (float(text) if "f" in kind.dtypes else int(text)) <= kind.high
    except ValueError:
        return False


def read_rotations(tables: Path, arms: pd.DataFrame) -> pd.DataFrame | None:
    """Read the rotations of the arms that are rotated; None if there are none, or before they are collected.

    Two columns are added: "detectors_a %", and basis, the label of the arm of rotations. `arms` is arms.csv.
    """
    labels = arms[arms["recipe"] == RECIPE].set_index("base")["label"]
    path = tables / "rotations.csv"
    if labels.empty or not path.is_file():
        return None
    rotations = read_table(path)
    rotations["detectors_a %"] = 100 * rotations["detectors_a"] / rotations["units"]
    rotations["basis"] = rotations["arm"].map(labels)
    rotations = rotations[rotations["basis"].notna()]  # others come from an earlier config
    return None if rotations.empty else rotations


def read_ablation(tables: Path) -> dict[str, pd.DataFrame]:
    """The tables "ablation" and "classes" by name; empty before both are collected. "ablation" may have no rows."""
    names = ("ablation", "classes")
    if not all((tables / f"{name}.csv").is_file() for name in names):
        return {}
    return {name: read_table(tables / f"{name}.csv").astype({"replicate": int, "level": int}) for name in names}


def farthest(rotations: pd.DataFrame) -> pd.DataFrame:
    """The rotations of each arm with the largest alpha: full rotations if its alphas reach 1."""
    return rotations[rotations["alpha"] == rotations.groupby("arm")["alpha"].transform("max")]


def units_above_rotation(networks: pd.DataFrame, rotations: pd.DataFrame) -> pd.Series:
    """For each row of networks.csv, detectors minus the mean of its full rotations; NaN if there are none."""
    network = ["arm", "replicate", "level", "layer"]
    turned = rotations[rotations["alpha"] == 1].groupby(network)["detectors_a"].mean().rename("turned")
    return networks["detectors_a"] - networks.join(turned, on=network)["turned"]


def detector_rule_of(networks: pd.DataFrame) -> tuple[float, str]:
    """The IoU threshold and the rule of detectors; UserError unless all rows of networks.csv have the same."""
    rules = networks[["detector_iou", "detector_rule"]].drop_duplicates()
    if len(rules) > 1:
        raise UserError("networks.csv has detectors by several rules: collect its networks with one rule")
    return rules["detector_iou"].iloc[0], rules["detector_rule"].iloc[0]
