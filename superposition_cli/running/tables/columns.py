"""The columns of summary and cells, block by block, from the chunks of a run.

A block is some thousand neighbouring cells with all their models: what is held in memory does not
grow with the run, and no row is an object.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from superposition_cli.config.axes import Form, Range, Values
from superposition_cli.config.sections import PAIR
from superposition_cli.config.vectors import complement
from superposition_cli.running.folder import Run
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.grid import Plan
from superposition_cli.running.tables import selecting
from superposition_cli.running.tables.texts import text

if TYPE_CHECKING:
    import pyarrow as pa

FIRST = ("loss", "loss_error", "null_loss", "loss_normalised")
SPREAD = "_sd"  # ends the name of a standard deviation over the models that are averaged
BLOCK_MODELS = 1 << 16
KINDS = {int: "int64", float: "float64", bool: "bool"}  # others are text


class Block(NamedTuple):
    """Neighbouring cells: the columns of their models and their own."""

    models: "dict[str, pa.Array]"
    cells: "dict[str, pa.Array]"


class Share(NamedTuple):
    """What one group has of a block: C cells, each of R models."""

    cell: np.ndarray  # [C] int64
    models: Arrays  # [C R] each
    cells: Arrays  # [C] each
    probability: list[object]  # different values, as the settings have them
    whose: np.ndarray  # [C] which of them is a cell's


def leading(plan: Plan) -> list[str]:
    """Return the names of the columns that say which setting a row is about."""
    axes = [name for axis in plan.experiment.axes for name in axis.names]
    facts = ("seed", *PAIR)
    return ["cell", *axes, *(name for name in facts if name not in axes)]


def blocks(run: Run, plan: Plan) -> Iterator[Block]:
    """Yield the columns of both tables for neighbouring cells, in the order of the cells."""
    groups = [_Group(run, plan, number) for number in range(len(plan.groups))]
    double = any(group.spec.dtype == "float64" for group in plan.groups)
    size = max(1, BLOCK_MODELS // plan.restarts)
    for start in range(0, plan.experiment.n_cells, size):
        stop = min(start + size, plan.experiment.n_cells)
        shares = [share for group in groups if (share := group.share(start, stop)) is not None]
        yield _block(plan, shares, double)


class _Group:
    """The scalar metrics of one group, read chunk by chunk as they are asked for."""

    def __init__(self, run: Run, plan: Plan, number: int) -> None:
        self.run, self.plan, self.number = run, plan, number
        self.group = plan.groups[number]
        self.before = sum(one.n_chunks for one in plan.groups[:number])
        self.kept: tuple[int, Arrays] = (-1, {})

    def share(self, start: int, stop: int) -> Share | None:
        """Return what the group has of the cells [start, stop); None where it has none."""
        first, end = (self.plan.rank(self.number, cell) for cell in (start, stop))
        if first == end:
            return None
        plan, restarts = self.plan, self.plan.restarts
        cell = plan.cells_of(self.number, np.arange(first, end))
        models = self._rows(first * restarts, end * restarts)
        models["model"] = (cell[:, None] * restarts + np.arange(restarts)).ravel()
        taken = models.pop("finite_steps")
        models |= {"taken": taken, "ok": taken == self.group.spec.steps}
        cells = _selected(models, restarts, plan.experiment.base.train.select)
        of_p = plan.settings(self.number, cell).differing("feature_probability")
        return Share(cell, models, cells, *of_p)

    def _rows(self, start: int, stop: int) -> Arrays:
        """The numbers of the models at the places [start, stop)."""
        size = self.group.chunk_models
        pieces = []
        for chunk in range(start // size, -(-stop // size)):
            rows = slice(max(start - chunk * size, 0), stop - chunk * size)
            pieces.append({name: array[rows] for name, array in self._read(chunk).items()})
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _read(self, chunk: int) -> Arrays:
        if self.kept[0] != chunk:
            arrays = self.run.read(self.before + chunk, "metrics")
            self.kept = (chunk, {name: one for name, one in arrays.items() if one.ndim == 1})
        return self.kept[1]


def _scalars(models: Arrays) -> list[str]:
    """The names of the results of models, losses first."""
    facts = {"model", "taken", "ok", "converged", "selected"}
    return [*FIRST, *sorted({*models} - facts - {*FIRST})]


def _selected(models: Arrays, restarts: int, rule: str) -> Arrays:
    """What a selection rule makes of the models of C cells; says in `models` which it selects."""
    by_cell = (-1, restarts)
    grids = {name: models[name].reshape(by_cell) for name in _scalars(models)}
    finite = models["ok"].reshape(by_cell) & np.isfinite(grids["loss"])
    kept = selecting.select(rule, grids["loss"], finite)
    models["selected"] = kept.ravel()
    bad = (~models["ok"]).reshape(by_cell).sum(1)
    moving = (~models["converged"]).reshape(by_cell).sum(1) - bad
    first = models["model"][::restarts]
    cells = {
        "best": first + selecting.best_of(grids["loss"], kept),
        "diverged": bad,
        "not_converged": np.maximum(moving, 0),
    }
    means = {name: selecting.aggregate(values, kept) for name, values in grids.items()}
    if rule != "best":
        means |= {n + SPREAD: selecting.spread(values, kept) for n, values in grids.items()}
    return cells | means


def _block(plan: Plan, shares: list[Share], double: bool) -> Block:
    """Put the shares of all groups in the order of the cells and name their columns."""
    import pyarrow as pa

    restarts, rule = plan.restarts, plan.experiment.base.train.select
    cell = np.concatenate([share.cell for share in shares])
    order = np.argsort(cell, kind="stable")
    rows = (order[:, None] * restarts + np.arange(restarts)).ravel()
    models = _joined([share.models for share in shares], rows)
    cells = _joined([share.cells for share in shares], order)
    lead = _lead(plan, shares, cell, order)
    each = np.repeat(np.arange(len(cell)), restarts)
    ok, best = models["ok"], cells.pop("best")
    of_models = {
        "model": pa.array(models["model"]),
        "restart": pa.array(np.tile(np.arange(restarts), len(cell))),
        **{name: column.take(pa.array(each)) for name, column in lead.items()},
        "status": _words(["diverged", "ok"], ok.astype(int)),
        "diverged_step": pa.array(models["taken"].astype(np.int64), mask=ok),
        "converged": pa.array(models["converged"]),
        "selected": pa.array(models["selected"]),
        **{name: pa.array(_plain(models[name], double)) for name in _scalars(models)},
    }
    none = np.isnan(best)
    of_cells = {
        **lead,
        "select": _words([rule], np.zeros(len(cell), int)),
        "selected_model": pa.array(np.where(none, 0, best).astype(np.int64), mask=none),
        "models": pa.array(np.full(len(cell), restarts)),
        **{name: pa.array(values) for name, values in cells.items()},
    }
    return Block(of_models, of_cells)


def _joined(parts: list[Arrays], order: np.ndarray) -> Arrays:
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


def _plain(values: np.ndarray, double: bool) -> np.ndarray:
    """Results as numbers of one kind in all blocks."""
    if not np.issubdtype(values.dtype, np.floating):
        return values.astype(np.int64)
    return values.astype(np.float64) if double else values


def _words(values: list[str], index: np.ndarray) -> "pa.Array":
    """Text by its number among a few values."""
    import pyarrow as pa

    return pa.array(values, pa.string()).take(pa.array(index))


def _lead(
    plan: Plan, shares: list[Share], cell: np.ndarray, order: np.ndarray
) -> "dict[str, pa.Array]":
    """The columns that say which setting a cell has, in the order of the cells."""
    import pyarrow as pa

    found = {"cell": pa.array(cell[order])}
    stride = plan.experiment.n_cells
    for axis in plan.experiment.axes:
        stride //= axis.length
        places, index = np.unique(cell[order] // stride % axis.length, return_inverse=True)
        items = [axis.item(place) for place in places.tolist()]
        for at, (name, form) in enumerate(zip(axis.names, axis.forms, strict=True)):
            found[name] = _typed([item[at] for item in items], kind(form), index)
    if "seed" not in found:
        seed = np.full(len(cell), plan.experiment.base.seed)
        found["seed"] = pa.array(seed)
    offsets = np.cumsum([0, *(len(share.probability) for share in shares)])
    whose = [share.whose + at for share, at in zip(shares, offsets[:-1], strict=True)]
    index = np.concatenate(whose)[order]
    vectors = [one for share in shares for one in share.probability]
    both = {"feature_probability": vectors, "sparsity": list(map(complement, vectors))}
    sort = "float64" if _all_equal(plan) else "text"
    return found | {
        name: _typed([p[0] if len(set(p)) == 1 else p for p in values], sort, index)
        for name, values in both.items()
    }


def _typed(values: list, sort: str, index: np.ndarray) -> "pa.Array":
    """A column of a few values: as they are, or as text where they are of several kinds."""
    import pyarrow as pa

    if sort == "text":
        return _words(list(map(text, values)), index)
    return pa.array(np.array(values, sort)[index])


def kind(form: Form) -> str:
    """Return what the values of an axis are kept as: numbers, true and false, or text."""
    if not isinstance(form, Values):
        return "int64" if isinstance(form, Range) else "float64"
    kinds = {type(value) for value in form.values}
    only = KINDS.get(kinds.pop(), "text") if len(kinds) == 1 else "text"
    large = only == "int64" and max(map(abs, form.values)) >= 2**63
    return "text" if large else only


def _all_equal(plan: Plan) -> bool:
    """Whether all features have one probability in every cell, as it is written."""
    experiment = plan.experiment
    names = [f"data.{name}" for name in PAIR]
    swept = [
        (name, form)
        for axis in experiment.axes
        for name, form in zip(axis.names, axis.forms, strict=True)
        if name.startswith(tuple(names))
    ]
    written = [getattr(experiment.data, name) for name in PAIR]
    return (
        all(isinstance(value, float | None) for value in written)
        and all(name in names for name, _ in swept)
        and all(
            isinstance(value, int | float)
            for _, form in swept
            if isinstance(form, Values)
            for value in form.values
        )
    )
