"""One run's cells: the selected models' values, and the structure they found."""

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel
from rich.console import Group, RenderableType

from superposition_cli.config.complaints import hint
from superposition_cli.config.sections import PAIR
from superposition_cli.config.vectors import complement
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import geometry
from superposition_cli.report import terminal
from superposition_cli.running import launch, results, tables
from superposition_cli.running.folder import Run
from superposition_cli.running.grid import Plan
from superposition_cli.running.tables.texts import column

SCHEMA_VERSION = 1
WHOLE_LAW = 1_000  # characters
VALUES = ("loss_normalised", "n_represented", "dims_per_feature")


class Content(NamedTuple):
    """A run and the rows of its cells, each with the structure in words."""

    run: Run
    plan: Plan
    rows: list[dict[str, str]]
    total: int


def read(path: Path, limit: int | None) -> Content:
    """Read a run's cells, all or the first few."""
    run, plan = launch.load(path)
    rows = list(_rows(run, plan, limit, True))
    return Content(run, plan, rows, plan.experiment.n_cells if rows else 0)


def _rows(run: Run, plan: Plan, limit: int | None, in_words: bool) -> Iterator[dict[str, str]]:
    """The first cells, those that have a selected model with their structure in words."""
    table = tables.rows(run.path, plan, tables.CELLS, limit)
    header = next(table, [])
    for texts in table:
        row = dict(zip(header, texts, strict=True))
        if in_words and row["selected_model"]:
            row["structure"] = structure(run, plan, int(row["selected_model"]))
        yield row


def structure(run: Run, plan: Plan, number: int) -> str:
    """Say in words what the embedding of one model consists of."""
    return geometry.describe(results.model(run, plan, number)["W"])


def as_table(content: Content, columns: Sequence[str] = ()) -> RenderableType:
    """Return the headline and the table a terminal shows."""
    run, rows = content.run, content.rows
    lines: list[RenderableType] = [terminal.headline(run.manifest, run.status())]
    if not rows:
        return Group(*lines, terminal.clean("no results yet: the run has not been finished"))
    chosen = list(columns) or columns_of(content)
    _check(chosen, [*rows[0], "structure"])
    lines.append(terminal.cells_table(rows, chosen))
    if len(rows) < content.total:
        more = content.total - len(rows)
        lines.append(terminal.clean(f"and {more:,} more cells (--limit, --csv)"))
    return Group(*lines)


def _check(columns: Sequence[str], known: Sequence[str]) -> None:
    """Raise `InvalidInput` for a column that is not there."""
    if unknown := [name for name in columns if name not in known]:
        raise InvalidInput(
            f"--columns {unknown[0]}: is not a column" + hint(unknown[0], known) + "; --csv has all"
        )


def columns_of(content: Content) -> list[str]:
    """Return the columns that say most: axes, main values, what went wrong, the structure."""
    rows = content.rows
    axes = [name for axis in content.run.manifest["axes"] for name in axis["names"]]
    if not axes:
        axes = ["feature_probability"]
    values = [name for name in VALUES if name in rows[0]]
    odd = [name for name in ("diverged", "not_converged") if any(row[name] != "0" for row in rows)]
    words = ["structure"] if any("structure" in row for row in rows) else []
    return [*axes, *values, *odd, *words]


def as_json(content: Content) -> dict[str, object]:
    """Return what `sp show --json` prints."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": content.run.manifest,
        "status": content.run.status(),
        "cells": [
            {**row, **_vectors(content.plan, int(text["cell"]))}
            for row, text in zip(typed(content.rows), content.rows, strict=True)
        ],
    }


def _vectors(plan: Plan, cell: int) -> dict[str, object]:
    """The columns of a cell that stand for vectors: the law, its range, how many numbers."""
    data, n = plan.setting(cell).data, plan.setting(cell).model.n_features
    probability = plan.setting(cell).feature_probability()
    numbers = {"feature_probability": probability, "sparsity": tuple(complement(probability))}
    numbers["importance"] = plan.setting(cell).importance()
    columns = {name: name for name in PAIR} | {
        name: name.removeprefix("data.")
        for name, value in plan.assignment(cell).items()
        if name.removeprefix("data.") in numbers and isinstance(value, list | tuple | dict)
    }
    return {
        shown: {
            "law": law(getattr(data, name), numbers[name]),
            "min": min(numbers[name]),
            "max": max(numbers[name]),
            "n": n,
        }
        for shown, name in columns.items()
        if len(set(numbers[name])) > 1
    }


def law(written: object, numbers: Sequence[float]) -> object:
    """Return how a vector was written where it was a law, else its numbers in short."""
    if isinstance(written, BaseModel):
        return tables.brief(written.model_dump(exclude_unset=True), WHOLE_LAW)
    return tables.brief(numbers)


def typed(rows: list[dict[str, str]]) -> list[dict[str, object]]:
    """Return rows with numbers as numbers, true and false as such, and an empty cell as None."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: column([row.get(name, "") for row in rows]) for name in names}
    return [
        {name: columns[name][at].item() if row.get(name, "") else None for name in names}
        for at, row in enumerate(rows)
    ]


def as_csv(path: Path, limit: int | None, columns: Sequence[str] = ()) -> Iterator[str]:
    """Yield the cells as CSV, all columns or some, line by line.

    Where more than `tables.MOST_ROWS` are asked for, they come without the structure in words,
    for which every model is looked at, unless it is among the columns.
    """
    run, plan = launch.load(path)
    count = plan.experiment.n_cells if limit is None else min(limit, plan.experiment.n_cells)
    in_words = "structure" in columns or (not columns and count <= tables.MOST_ROWS)
    rows = _rows(run, plan, limit, in_words)
    first = list(itertools.islice(rows, tables.MOST_ROWS))
    names = list(dict.fromkeys(name for row in first for name in row))
    if not names:
        return
    _check(columns, [*names, "structure"])
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(columns) or names, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    for row in itertools.chain(first, rows):
        writer.writerow(row)
        yield text.getvalue()
        text.seek(0)
        text.truncate()
