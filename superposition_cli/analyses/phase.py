"""Ignored, in superposition or dedicated: what becomes of the last of two or three features?

The phase diagram of Elhage et al. 2022: the map of trained classes over the feature
probability p and the importance r of the last feature, held against the closed forms of
`phases` and against the exact optimum. Arrays are [P, R], both axes ascending.
"""

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np

from superposition_cli.analyses import optimum
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.errors import InvalidInput
from superposition_cli.measures.class_map import WORDS, boundary, classify, last_feature, slope_jump
from superposition_cli.running.results import Results
from superposition_cli.running.tables import aggregate, select
from superposition_cli.theory.phases import (
    Fate,
    last_feature_fate,
    phase_boundary,
    three_feature_losses,
    two_feature_losses,
)

SHAPES = ((2, 1), (3, 2))
PROBABILITY, IMPORTANCE = "data.feature_probability", "data.importance.last"
SPARSE = 0.1  # closed forms are within a percent of the optimum for p up to here
NEAR = 1.02  # trained loss by exact loss, up to which training has reached the optimum
STARTS = 8  # random starts of the exact optimum; the best trained model is one more
VALUES = {2: 25, 3: 13}  # by the number of features: most values per axis it is searched for


class Diagram(NamedTuple):
    """The grid of a run: its values, ascending, and the cell at each point."""

    p: np.ndarray  # [P]
    r: np.ndarray  # [R]
    cell: np.ndarray  # [P, R]
    n_features: int


class Measured(NamedTuple):
    """What the models of each cell do with the last feature, each [P, R]."""

    norm: np.ndarray
    superposition: np.ndarray
    loss: np.ndarray


class Closed(NamedTuple):
    """The best closed-form arrangement."""

    fate: np.ndarray  # [P, R]
    loss: np.ndarray  # [P, R]
    boundary: np.ndarray  # [R]


class Exact(NamedTuple):
    """The exact optimum, at some or all points of the grid."""

    rows: np.ndarray  # [P'], which of the grid's p
    columns: np.ndarray  # [R'], which of its r
    fate: np.ndarray  # [P', R']
    loss: np.ndarray  # [P', R']


def phase(results: Results) -> Finding:
    """Return the trained, the closed-form and the exact phase diagram, and where they agree.

    Measured on the selected models, averaged over those of a cell, and again on the best
    model of each cell. boundary and slope_jump are taken at the r closest to 1. The exact
    optimum is searched at up to `VALUES` values per axis.

    Raises `InvalidInput` unless the run is a grid over both axes of one of `SHAPES`.
    """
    grid = diagram(results)
    columns = results.summary
    by_cell = (-1, results.plan.restarts)
    loss = columns["loss"].reshape(by_cell).astype(float)
    finite = (columns["status"] == "ok").reshape(by_cell) & np.isfinite(loss)
    norm, superposition = last_feature(results.weights["W"])
    values = Measured(norm.reshape(by_cell), superposition.reshape(by_cell), loss)
    chosen = _averaged(values, columns["selected"].reshape(by_cell), grid)
    kept = select("best", loss, finite)
    return compare(grid, chosen, _averaged(values, kept, grid), exact_optimum(results, grid, kept))


def compare(grid: Diagram, chosen: Measured, best: Measured, exact: Exact) -> Finding:
    """Hold what was measured over a grid against the closed forms and the exact optimum."""
    closed = closed_forms(grid)
    arrays = {
        "p": grid.p,
        "r": grid.r,
        **chosen._asdict(),
        "class_trained": classify(chosen.norm, chosen.superposition),
        "class_best": classify(best.norm, best.superposition),
        "class_closed": closed.fate,
        "loss_best": best.loss,
        "loss_closed": closed.loss,
        "boundary_closed": closed.boundary,
        "p_exact": grid.p[exact.rows],
        "r_exact": grid.r[exact.columns],
        "class_exact": exact.fate,
        "loss_exact": exact.loss,
    }
    arrays["boundary"] = boundary(grid.p, arrays["class_trained"])
    arrays["boundary_exact"] = boundary(arrays["p_exact"], exact.fate)
    arrays["ratio"] = chosen.loss / closed.loss
    numbers = {**_numbers(grid, arrays), **_exact_numbers(arrays, exact)}
    numbers = {name: _number(value) for name, value in numbers.items()}
    cells = {"cells": grid.cell.size, "cells_exact": exact.loss.size}
    return Finding({**cells, **numbers}, tuple(_rows(grid, arrays, exact)), arrays)


def diagram(results: Results) -> Diagram:
    """Return the grid of a run; raise `InvalidInput` when it is no phase diagram."""
    experiment = results.plan.experiment
    names = [axis.names for axis in experiment.axes]
    if sorted(names) != [(PROBABILITY,), (IMPORTANCE,)]:
        raise InvalidInput(f"phase needs a grid over {PROBABILITY} and {IMPORTANCE}, no other axis")
    values = {a.names[0]: [a.item(i)[0] for i in range(a.length)] for a in experiment.axes}
    if not all(isinstance(value, int | float) for value in values[PROBABILITY]):
        raise InvalidInput("phase needs one feature probability for all features of a cell")
    if min(values[IMPORTANCE]) <= 0:
        raise InvalidInput(f"phase needs {IMPORTANCE} above 0 in every cell")
    n_features = _checked(results.plan.setting(0))
    cell = np.arange(experiment.n_cells).reshape([len(column) for column in values.values()])
    p, r = np.array(values[PROBABILITY], float), np.array(values[IMPORTANCE], float)
    cell = cell if names[0] == (PROBABILITY,) else cell.T
    rows, columns = np.argsort(p), np.argsort(r)
    return Diagram(p[rows], r[columns], cell[np.ix_(rows, columns)], n_features)


def _checked(setting: Any) -> int:
    """Return the number of features of a cell for which there are closed forms."""
    model, data = setting.model, setting.data
    if model.kind != "relu_output" or (model.n_features, model.n_hidden) not in SHAPES:
        shape = f"{model.kind} with {model.n_features} features in {model.n_hidden}"
        raise InvalidInput(f"phase is for relu_output with 2 features in 1 or 3 in 2, not {shape}")
    if (data.kind, data.target, data.low, data.high) != ("uniform", "identity", 0, 1):
        raise InvalidInput("phase is for independent features in U[0, 1] and the target identity")
    if any(importance != 1 for importance in setting.importance()[:-1]):
        raise InvalidInput("phase needs importance 1 for all features but the last")
    return int(model.n_features)


def closed_forms(grid: Diagram) -> Closed:
    """Return class, loss and boundary of the best closed-form arrangement, in float64."""
    losses = two_feature_losses if grid.n_features == 2 else three_feature_losses
    with jax.enable_x64(True):
        p, r = grid.p[:, None], grid.r[None, :]
        loss = np.min(np.stack([np.asarray(one) for one in losses(p, r)]), axis=0)
        fate = np.asarray(last_feature_fate(p, r, grid.n_features), np.int64)
        return Closed(fate, loss, np.asarray(phase_boundary(grid.r)))


def exact_optimum(results: Results, grid: Diagram, best: np.ndarray) -> Exact:
    """Return class and loss of the exact optimum over a grid, thinned to `VALUES` per axis.

    Searched from `STARTS` random starts and from the best trained model of the cell, which
    `best` [cells, R] marks. Where classes tie, as they do on r = 1, the last feature is
    ignored rather than superposed, and superposed rather than dedicated: see
    `phases.last_feature_fate`.
    """
    rows, columns = (_thinned(len(axis), VALUES[grid.n_features]) for axis in (grid.p, grid.r))
    cells = grid.cell[np.ix_(rows, columns)].ravel()
    models = cells * best.shape[1] + best.argmax(1)[cells]
    trained = {name: values[models][:, None] for name, values in results.weights.items()}
    settings = [results.plan.setting(int(cell)) for cell in cells]
    found = optimum.of_settings(settings, STARTS, trained)
    W = np.asarray(found.params["W"])
    fate = classify(*last_feature(W.reshape(-1, *W.shape[2:]))).reshape(found.losses.shape)
    fate = np.min(fate, axis=1, where=found.tied, initial=max(Fate))
    shape = (len(rows), len(columns))
    return Exact(rows, columns, fate.reshape(shape), found.loss.reshape(shape))


def _thinned(length: int, most: int) -> np.ndarray:
    """Indices of at most so many values, evenly spread, with the first and the last."""
    return np.linspace(0, length - 1, min(length, most)).round().astype(int)


def _averaged(values: Measured, kept: np.ndarray, grid: Diagram) -> Measured:
    """Average over the kept models of each cell and lay the cells out as the grid."""
    return Measured(*(aggregate(value, kept)[grid.cell] for value in values))


def _numbers(grid: Diagram, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Training against the closed forms."""
    at = _unit_importance(grid.r)
    crossing = float(arrays["boundary_closed"][at])
    sparse = arrays["ratio"][grid.p <= SPARSE]
    return {
        "class_agreement": np.mean(arrays["class_trained"] == arrays["class_closed"]),
        "class_agreement_best": np.mean(arrays["class_best"] == arrays["class_closed"]),
        "boundary": arrays["boundary"][at],
        "boundary_closed": crossing,
        "boundary_lowest_r": arrays["boundary"][0],
        "boundary_closed_lowest_r": arrays["boundary_closed"][0],
        "ratio_sparse": np.median(sparse) if sparse.size else np.nan,
        "ratio_least": np.min(arrays["ratio"]),
        "ratio_most": np.max(arrays["ratio"]),
        "slope_jump": slope_jump(grid.p, arrays["loss"][:, at], crossing),
        "slope_jump_closed": slope_jump(grid.p, arrays["loss_closed"][:, at], crossing),
    }


def _exact_numbers(arrays: dict[str, np.ndarray], exact: Exact) -> dict[str, Any]:
    """The exact optimum against the closed forms, and training against it."""
    at, part = _unit_importance(arrays["r_exact"]), np.ix_(exact.rows, exact.columns)
    crossing = float(arrays["boundary_closed"][exact.columns[at]])
    closed = exact.loss / arrays["loss_closed"][part]
    chosen, best = arrays["loss"][part] / exact.loss, arrays["loss_best"][part] / exact.loss
    return {
        "class_agreement_exact": np.mean(exact.fate == arrays["class_closed"][part]),
        "class_agreement_trained_exact": np.mean(exact.fate == arrays["class_trained"][part]),
        "class_agreement_best_exact": np.mean(exact.fate == arrays["class_best"][part]),
        "boundary_exact": arrays["boundary_exact"][at],
        "boundary_exact_lowest_r": arrays["boundary_exact"][0],
        "slope_jump_exact": slope_jump(arrays["p_exact"], exact.loss[:, at], crossing),
        "exact_to_closed_least": np.min(closed),
        "exact_to_closed_most": np.max(closed),
        "ratio_to_exact": np.median(chosen),
        "ratio_to_exact_most": np.max(chosen),
        "share_near_exact": np.mean(chosen <= NEAR),
        "best_to_exact": np.median(best),
        "best_to_exact_least": np.min(best),
        "best_to_exact_most": np.max(best),
    }


def _unit_importance(r: np.ndarray) -> int:
    """Which r is closest to 1, by factors."""
    return int(np.abs(np.log(r)).argmin())


def _rows(grid: Diagram, arrays: dict[str, np.ndarray], exact: Exact) -> list[Row]:
    classes = ("class_trained", "class_best", "class_closed")
    measured = ("norm", "superposition", "loss", "loss_best", "loss_closed", "ratio")
    at = {point: k for k, point in enumerate(itertools.product(exact.rows, exact.columns))}
    return [
        {
            "p": float(grid.p[i]),
            "r": float(grid.r[j]),
            **{name: WORDS[int(arrays[name][i, j])] for name in classes},
            "class_exact": WORDS[int(exact.fate.flat[at[i, j]])] if (i, j) in at else None,
            **{name: _number(arrays[name][i, j]) for name in measured},
            "loss_exact": _number(exact.loss.flat[at[i, j]]) if (i, j) in at else None,
        }
        for i, j in np.ndindex(grid.cell.shape)
    ]


def _number(value: Any) -> float | None:
    """A number that JSON can hold; None where there is none."""
    return float(value) if np.isfinite(value) else None
