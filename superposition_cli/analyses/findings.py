"""What an analysis found: numbers, rows over cells, arrays; and where it is kept."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

import numpy as np

from superposition_cli.errors import InvalidInput
from superposition_cli.running import fsio
from superposition_cli.running.fsio import Arrays

SCHEMA_VERSION = 1
LEFT_OUT = "rows_left_out"  # a number of a finding that has no rows, because there are too many
Value = float | int | str | bool | None
Row = Mapping[str, Any]


class Finding(NamedTuple):
    """The answer of one analysis to its question about one run.

    numbers: what holds for the run as a whole, by name.
    rows: what holds for parts of it (cells, pairs of cells ...); each row has the same
        keys, among them the axes that tell it from the others.
    arrays: what a figure is drawn from, by name.
    """

    numbers: Mapping[str, Value]
    rows: tuple[Row, ...] = ()
    arrays: Mapping[str, np.ndarray] = {}


def number(value: SupportsFloat) -> float | None:
    """Return a number that JSON can hold; None where there is none."""
    plain = float(value)
    return plain if math.isfinite(plain) else None


def mean(values: np.ndarray | Iterable[float | None]) -> float | None:
    """Return the mean of the numbers there are, without None and NaN; None where there is none."""
    given = np.array(values if isinstance(values, np.ndarray) else list(values), float)
    finite = given[np.isfinite(given)]
    return float(finite.mean()) if finite.size else None


def save(folder: Path, name: str, finding: Finding) -> None:
    """Keep a finding as <name>.json and, where it has arrays, <name>.safetensors."""
    fsio.make_folder(folder)
    if finding.arrays:
        fsio.write_arrays(folder / f"{name}.safetensors", dict(finding.arrays), {})
    content = {"numbers": finding.numbers, "rows": list(finding.rows)}
    fsio.write_json(
        folder / f"{name}.json", {"schema_version": SCHEMA_VERSION, "analysis": name, **content}
    )


def load(folder: Path, name: str) -> Finding | None:
    """Return a kept finding, or None when there is none."""
    file = folder / f"{name}.json"
    if not file.is_file():
        return None
    content = fsio.read_json(file)
    arrays: Arrays = {}
    if (folder / f"{name}.safetensors").is_file():
        arrays = fsio.read_arrays(folder / f"{name}.safetensors")
    return Finding(content["numbers"], tuple(content["rows"]), arrays)


def pick(finding: Finding, key: str, where: Row | None) -> Value:
    """Return the number a claim is about: `key` of the whole, or of the one row `where` names.

    Axes are matched to nine digits. Raises `InvalidInput` when no row, several rows or no
    such key is there.
    """
    if not where:
        if key not in finding.numbers:
            raise InvalidInput(f"there is no number {key}; there are {', '.join(finding.numbers)}")
        return finding.numbers[key]
    if LEFT_OUT in finding.numbers:
        raise InvalidInput(f"rows of {finding.numbers[LEFT_OUT]:,} cells are not kept in a finding")
    rows = [row for row in finding.rows if all(_same(row.get(k), v) for k, v in where.items())]
    if len(rows) != 1:
        raise InvalidInput(f"{len(rows)} rows, not one, have {dict(where)}")
    if key not in rows[0]:
        raise InvalidInput(f"rows have no {key}; they have {', '.join(rows[0])}")
    value: Value = rows[0][key]
    return value


def _same(value: object, wanted: object) -> bool:
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return bool(np.isclose(value, wanted, rtol=1e-9, atol=0))
    return value == wanted
