"""summary.csv and cells.csv: one row per model, one row per cell.

Both are rebuilt from the committed chunks and are never the only copy of a number.
"""

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from superposition_cli.config import Setting
from superposition_cli.config.vectors import complement
from superposition_cli.running import fsio
from superposition_cli.running.folder import Run
from superposition_cli.running.grid import Plan

FIRST = ("loss", "loss_error", "null_loss", "loss_normalised")
SPREAD = "_sd"  # ends the name of a standard deviation over the models that are averaged
FLAGS = {True: "true", False: "false"}
FORMULA = ("=", "+", "-", "@", "\t", "\r")
LONGEST_LAW = 40  # characters of a law or of sets in a cell of a table
LONGEST_OLD = 1 << 28  # bytes of a cell in folders of 0.1.0, which held whole vectors


class Columns(NamedTuple):
    """The scalar results of all models of one group, in the order of their places."""

    model: np.ndarray  # [N] int64
    scalars: dict[str, np.ndarray]  # [N] each; losses first
    finite_steps: np.ndarray  # [N]
    converged: np.ndarray  # [N]
    selected: np.ndarray  # [N] bool
    cells: dict[str, np.ndarray]  # [cells] each: what the selection rule makes of the scalars
    best: np.ndarray  # [cells] the selected model of least loss, NaN where none is selected
    steps: int


def write(run: Run, plan: Plan) -> None:
    """Rebuild both tables of a finished run, cell by cell, in the order of the cells."""
    groups = [_gather(run, plan, number) for number in range(len(plan.groups))]
    lead = [*_leading(plan), "select", "selected_model", "models", "diverged", "not_converged"]
    with (
        fsio.text_file(run.path / "summary.csv") as summary,
        fsio.text_file(run.path / "cells.csv") as cells,
    ):
        of_models, of_cells = (csv.writer(file, lineterminator="\n") for file in (summary, cells))
        of_models.writerow(header(plan, groups[0]))
        of_cells.writerow([*lead, *groups[0].cells])
        for cell, columns, rows in _places(plan, groups):
            lead = _lead(plan, cell)
            of_models.writerows(_model_rows(lead, columns, rows))
            of_cells.writerow(_cell_row(plan, lead, columns, rows))


def header(plan: Plan, columns: Columns) -> list[str]:
    """Return the column names of summary.csv."""
    facts = ["status", "diverged_step", "converged", "selected"]
    return ["model", "restart", *_leading(plan), *facts, *columns.scalars]


def select(rule: str, loss: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Say which restarts [cells, R] of each cell are kept by a selection rule.

    best: the one with the lowest loss. mean: all that did not diverge. drop_worst: those
    but the one with the highest loss (a single one is kept). Diverged models never are.
    Source of drop_worst: the ten-models-per-point rule of Elhage et al. 2022.
    """
    if rule == "mean":
        return finite
    ranked = np.where(finite, loss, np.inf)
    if rule == "best":
        first = np.arange(loss.shape[1]) == ranked.argmin(1)[:, None]
        return first & finite
    highest = np.where(finite, loss, -np.inf).argmax(1)[:, None]
    worst = (np.arange(loss.shape[1]) == highest) & (finite.sum(1) > 1)[:, None]
    return finite & ~worst


def aggregate(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the mean of `values` [cells, R] over the kept restarts; NaN where none is.

    A metric that is NaN for a kept model is left out of that cell's mean.
    """
    use = kept & np.isfinite(values)
    total = np.where(use, values, 0).sum(1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return total / use.sum(1)


def spread(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the standard deviation of `values` [cells, R] over the kept restarts.

    Of a sample, with R - 1 in the divisor; NaN where fewer than two numbers are left.
    """
    use = kept & np.isfinite(values)
    count = use.sum(1)
    off = np.where(use, values - aggregate(values, kept)[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 1, np.sqrt((off**2).sum(1) / (count - 1)), np.nan)


def best_of(loss: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return which restart of each cell [cells, R] is the kept one of least loss; NaN for none."""
    ranked = np.where(kept & np.isfinite(loss), loss, np.inf)
    return np.where(np.isfinite(ranked.min(1)), ranked.argmin(1), np.nan)


def _gather(run: Run, plan: Plan, number: int) -> Columns:
    """Read the scalar metrics of a group's chunks and decide which models are selected."""
    group = plan.groups[number]
    pieces, models = [], []
    for chunk in plan.chunks:
        if chunk.group == number:
            arrays = run.read(chunk.number, "metrics")
            pieces.append({name: array for name, array in arrays.items() if array.ndim == 1})
            models.append(plan.models(chunk))
    joined = {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    finite_steps, converged = joined.pop("finite_steps"), joined.pop("converged")
    joined.pop("model")
    names = [*FIRST, *sorted(set(joined) - set(FIRST))]
    by_cell = (-1, plan.restarts)
    finite = (finite_steps == group.spec.steps) & np.isfinite(joined["loss"])
    rule = plan.experiment.base.train.select
    loss = joined["loss"].reshape(by_cell)
    selected = select(rule, loss, finite.reshape(by_cell))
    scalars = {name: joined[name] for name in names}
    grids = {name: values.reshape(by_cell) for name, values in scalars.items()}
    cells = {name: aggregate(values, selected) for name, values in grids.items()}
    if rule != "best":
        cells |= {f"{name}{SPREAD}": spread(values, selected) for name, values in grids.items()}
    model, steps = np.concatenate(models), group.spec.steps
    best = model[:: plan.restarts] + best_of(loss, selected)
    return Columns(model, scalars, finite_steps, converged, selected.ravel(), cells, best, steps)


def _leading(plan: Plan) -> list[str]:
    axes = [name for axis in plan.experiment.axes for name in axis.names]
    facts = ("seed", "feature_probability", "sparsity")
    return ["cell", *axes, *(name for name in facts if name not in axes)]


def _lead(plan: Plan, cell: int) -> list[str]:
    """The cells that say which setting a row is about."""
    assignment = plan.assignment(cell)
    setting = plan.experiment.at(assignment)
    values = [*assignment.values(), *_facts(setting, assignment)]
    return [str(cell), *(_text(value) for value in values)]


def _facts(setting: Setting, assignment: dict[str, object]) -> Iterator[object]:
    p = setting.feature_probability()
    uniform = len(set(p)) == 1
    if "seed" not in assignment:
        yield setting.seed
    yield p[0] if uniform else p
    sparsity = complement(p)
    yield sparsity[0] if uniform else sparsity


def _places(plan: Plan, groups: list[Columns]) -> Iterator[tuple[int, Columns, slice]]:
    """Yield every cell with the columns and rows that its models are in."""
    cells = [one.model[:: plan.restarts] // plan.restarts for one in groups]
    owner = np.repeat(np.arange(len(groups)), [len(one) for one in cells])
    first = np.concatenate([np.arange(len(one)) * plan.restarts for one in cells])
    for place in np.argsort(np.concatenate(cells), kind="stable"):
        rows = slice(int(first[place]), int(first[place]) + plan.restarts)
        columns = groups[owner[place]]
        yield int(columns.model[rows.start]) // plan.restarts, columns, rows


def _model_rows(lead: list[str], columns: Columns, rows: slice) -> Iterator[list[str]]:
    """The rows of one cell's models."""
    names = [name[rows].tolist() for name in columns.scalars.values()]
    facts = (columns.model, columns.finite_steps, columns.converged, columns.selected)
    parts = zip(*(one[rows].tolist() for one in facts), *names, strict=True)
    for restart, (model, taken, converged, selected, *values) in enumerate(parts):
        state = ["ok", ""] if taken == columns.steps else ["diverged", str(taken)]
        flags = [FLAGS[converged], FLAGS[selected]]
        yield [str(model), str(restart), *lead, *state, *flags, *map(_number, values)]


def _cell_row(plan: Plan, lead: list[str], columns: Columns, rows: slice) -> list[str]:
    """The row of one cell: what the selection rule makes of its models."""
    rule = plan.experiment.base.train.select
    bad = int((columns.finite_steps[rows] < columns.steps).sum())
    moving = int((~columns.converged[rows]).sum()) - bad
    counts = [str(plan.restarts), str(bad), str(max(0, moving))]
    place = rows.start // plan.restarts
    values = (column[place] for column in columns.cells.values())
    return [*lead, rule, _number(columns.best[place]), *counts, *map(_number, values)]


def _number(value: Any) -> str:
    """A number as text, to nine digits; empty where there is none."""
    return f"{value:.9g}" if math.isfinite(value) else ""


def brief(value: object, longest: int = LONGEST_LAW) -> object:
    """Return what stands for a setting in a table: numbers and words as they are, vectors short.

    A vector of n numbers is "first … last (n)", with its range where these are not the ends of
    it. Laws and sets are as written, in at most `longest` characters. The numbers themselves are in
    `Results.vectors`.
    """
    if not isinstance(value, list | tuple | Mapping):
        return value
    if isinstance(value, Mapping) or not all(isinstance(one, int | float) for one in value):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= longest else f"{text[: longest - 1]}…"
    ends, span = (value[0], value[-1]), (min(value), max(value))
    between = "" if set(ends) == set(span) else f"; {span[0]:.6g} to {span[1]:.6g}"
    return f"{ends[0]:.6g} … {ends[1]:.6g} ({len(value)}{between})"


def read(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a table as text, its header first; vectors of older folders short."""
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


def _text(value: object) -> str:
    """A setting as one cell of a table; text never starts like a formula."""
    value = brief(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    return f"'{value}" if str(value).startswith(FORMULA) else str(value)
