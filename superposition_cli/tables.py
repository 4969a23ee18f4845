"""summary.csv and cells.csv: one row per model, one row per cell.

Both are rebuilt from the committed chunks and are never the only copy of a number.
"""

import csv
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from superposition_cli import fsio
from superposition_cli.config import Setting
from superposition_cli.grid import Plan
from superposition_cli.runs import Run

FIRST = ("loss", "loss_error", "null_loss", "loss_normalised")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Columns(NamedTuple):
    """The scalar results of all models of one group, in the order of their places."""

    model: np.ndarray  # [N] int64
    scalars: dict[str, np.ndarray]  # [N] each; losses first
    finite_steps: np.ndarray  # [N]
    converged: np.ndarray  # [N]
    selected: np.ndarray  # [N] bool
    steps: int


def write(run: Run, plan: Plan) -> None:
    """Rebuild both tables of a finished run."""
    groups = [_gather(run, plan, number) for number in range(len(plan.groups))]
    with fsio.text_file(run.path / "summary.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header(plan, groups[0]))
        writer.writerows(_model_rows(plan, groups))
    with fsio.text_file(run.path / "cells.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        lead = [*_leading(plan), "select", "selected_model", "models", "diverged", "not_converged"]
        writer.writerow([*lead, *groups[0].scalars])
        writer.writerows(_cell_rows(plan, groups))


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
    selected = select(rule, joined["loss"].reshape(by_cell), finite.reshape(by_cell)).ravel()
    scalars = {name: joined[name] for name in names}
    return Columns(
        np.concatenate(models), scalars, finite_steps, converged, selected, group.spec.steps
    )


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


def _facts(setting: Setting, assignment: dict[str, Any]) -> Iterator[Any]:
    p = setting.feature_probability()
    uniform = len(set(p)) == 1
    if "seed" not in assignment:
        yield setting.seed
    yield p[0] if uniform else list(p)
    sparsity = [float(f"{1 - one:.12g}") for one in p]
    yield sparsity[0] if uniform else sparsity


def _model_rows(plan: Plan, groups: list[Columns]) -> Iterator[list[str]]:
    """Rows in the order of the models' numbers, whatever group they were trained in."""
    owner = np.concatenate([np.full(len(one.model), i) for i, one in enumerate(groups)])
    place = np.concatenate([np.arange(len(one.model)) for one in groups])
    order = np.argsort(np.concatenate([one.model for one in groups]), kind="stable")
    current, lead = -1, []
    for index in order:
        columns, row = groups[owner[index]], place[index]
        cell, restart = divmod(int(columns.model[row]), plan.restarts)
        if cell != current:
            current, lead = cell, _lead(plan, cell)
        taken = int(columns.finite_steps[row])
        ok = taken == columns.steps
        state = ["ok", ""] if ok else ["diverged", str(taken)]
        flags = [_text(bool(columns.converged[row])), _text(bool(columns.selected[row]))]
        values = (_number(values[row]) for values in columns.scalars.values())
        yield [str(columns.model[row]), str(restart), *lead, *state, *flags, *values]


def _cell_rows(plan: Plan, groups: list[Columns]) -> Iterator[list[str]]:
    rule = plan.experiment.base.train.select
    rows: dict[int, list[str]] = {}
    for columns in groups:
        shape = (-1, plan.restarts)
        kept = columns.selected.reshape(shape)
        means = {name: aggregate(v.reshape(shape), kept) for name, v in columns.scalars.items()}
        cells = columns.model.reshape(shape)[:, 0] // plan.restarts
        bad = (columns.finite_steps < columns.steps).reshape(shape).sum(1)
        moving = (~columns.converged).reshape(shape).sum(1) - bad
        for row, cell in enumerate(cells):
            only = kept[row].nonzero()[0]
            chosen = str(cell * plan.restarts + only[0]) if rule == "best" and len(only) else ""
            counts = [str(plan.restarts), str(bad[row]), str(max(0, moving[row]))]
            values = [_number(mean[row]) for mean in means.values()]
            rows[int(cell)] = [*_lead(plan, int(cell)), rule, chosen, *counts, *values]
    for cell in sorted(rows):
        yield rows[cell]


def _number(value: Any) -> str:
    """A number as text, to nine digits; empty where there is none."""
    return f"{value:.9g}" if np.isfinite(value) else ""


def _text(value: Any) -> str:
    """A setting as one cell of a table; text never starts like a formula."""
    if isinstance(value, bool) or value is None or isinstance(value, list | tuple | dict):
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    return f"'{value}" if str(value).startswith(FORMULA) else str(value)
