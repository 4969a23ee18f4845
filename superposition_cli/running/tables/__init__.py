"""The tables of a run, summary and cells: one row per model, one row per cell.

Each is a Parquet file, beside it the same as CSV where it is short. Both are rebuilt from the
committed chunks and are never the only copy of a number.
"""

import contextlib
import csv
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from superposition_cli.running import fsio
from superposition_cli.running.folder import Run
from superposition_cli.running.grid import Plan
from superposition_cli.running.tables import columns, parquet, texts
from superposition_cli.running.tables.columns import SPREAD as SPREAD
from superposition_cli.running.tables.selecting import aggregate as aggregate
from superposition_cli.running.tables.selecting import best_of as best_of
from superposition_cli.running.tables.selecting import select as select
from superposition_cli.running.tables.selecting import spread as spread
from superposition_cli.running.tables.texts import brief as brief

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY, CELLS = "summary", "cells"
MOST_ROWS = 100_000  # of a table that is written as CSV too
LONGEST_OLD = 1 << 28  # bytes of a cell in folders of 0.1.0, which held whole vectors


def write(run: Run, plan: Plan) -> None:
    """Rebuild both tables of a finished run, block by block, in the order of the cells."""
    with (
        _Table(run.path, plan, SUMMARY, plan.n_models) as summary,
        _Table(run.path, plan, CELLS, plan.experiment.n_cells) as cells,
    ):
        for block in columns.blocks(run, plan):
            summary.add(block.models)
            cells.add(block.cells)


class _Table:
    """One table as it is written: its Parquet file and, where it is short, its CSV."""

    def __init__(self, folder: Path, plan: Plan, name: str, count: int) -> None:
        self.settings = columns.leading(plan)
        self.csv = folder / f"{name}.csv"
        self.short = count <= MOST_ROWS
        self.parquet = parquet.Writer(folder / f"{name}.parquet")
        self.stack = contextlib.ExitStack()
        self.empty = True

    def __enter__(self) -> "_Table":
        self.stack.enter_context(self.parquet)
        if self.short:
            file = self.stack.enter_context(fsio.text_file(self.csv))
            self.rows = csv.writer(file, lineterminator="\n")
        return self

    def add(self, block: "dict[str, pa.Array]") -> None:
        """Add rows, by column."""
        self.parquet.add(block)
        if self.short:
            if self.empty:
                self.rows.writerow(block)
            made = [parquet.written(one, name in self.settings) for name, one in block.items()]
            self.rows.writerows(zip(*made, strict=True))
        self.empty = False

    def __exit__(self, *problem: object) -> None:
        self.stack.__exit__(*problem)  # type: ignore[arg-type]
        if not self.short:
            fsio.remove(self.csv)


def load(path: Path, plan: Plan, name: str) -> Mapping[str, np.ndarray]:
    """Return the columns of a table of a run folder; of an older one, all read at once."""
    file = path / f"{name}.parquet"
    if file.is_file():
        return parquet.Columns(file, columns.leading(plan))
    header, *rows = read(path / f"{name}.csv")
    by_name = zip(header, zip(*rows, strict=True), strict=True)
    return {key: texts.column(list(made)) for key, made in by_name}


def rows(path: Path, plan: Plan, name: str, most: int | None) -> Iterator[list[str]]:
    """Yield the first rows of a table as text, all where `most` is None, its header first.

    Nothing where the run has not been finished.
    """
    file, old = path / f"{name}.parquet", path / f"{name}.csv"
    if file.is_file():
        yield from parquet.rows(file, columns.leading(plan), most)
    elif old.is_file():
        yield from itertools.islice(read(old), None if most is None else most + 1)


def read(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a CSV as text, its header first; vectors of older folders short."""
    csv.field_size_limit(LONGEST_OLD)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            yield [_brief_again(text) if text.startswith("[") else text for text in row]


def _brief_again(text: str) -> str:
    """A list of numbers that an older version wrote out in full, as `brief` has it."""
    try:
        return str(brief(json.loads(text)))
    except ValueError:
        return text
