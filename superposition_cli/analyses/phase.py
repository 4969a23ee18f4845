"""Ignored, in superposition or dedicated: what becomes of the last of two or three features?

The phase diagram of Elhage et al. 2022: the map of trained classes over the feature
probability p and the importance r of the last feature, held against the closed forms of
`phases` and against the exact optimum. Arrays are [P, R], both axes ascending.
"""

import itertools
from typing import NamedTuple

import jax
import numpy as np

from superposition_cli.analyses import needs, optimum
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row, number
from superposition_cli.measures.class_map import WORDS, boundary, classify, last_feature, slope_jump
from superposition_cli.running.fsio import Arrays
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
    cells = {"cells": grid.cell.size, "cells_exact": exact.loss.size}
    plain = {name: number(value) for name, value in numbers.items()}
    return Finding({**cells, **plain}, tuple(_rows(grid, arrays, exact)), arrays)


def diagram(results: Results) -> Diagram:
    """Return the grid of a run, both axes ascending."""
    plan = results.plan
    cell = np.arange(plan.experiment.n_cells).reshape([a.length for a in plan.experiment.axes])
    cell = cell if plan.experiment.axes[0].names == (PROBABILITY,) else cell.T
    p = np.array([plan.setting(int(i)).feature_probability()[0] for i in cell[:, 0]], float)
    r = np.array([plan.setting(int(i)).importance()[-1] for i in cell[0]], float)
    rows, columns = np.argsort(p), np.argsort(r)
    n_features = plan.experiment.base.model.n_features
    return Diagram(p[rows], r[columns], cell[np.ix_(rows, columns)], n_features)


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
    searched = optimum.of_settings(settings, STARTS, trained)
    W = np.asarray(searched.params["W"])
    fate = classify(*last_feature(W.reshape(-1, *W.shape[2:]))).reshape(searched.losses.shape)
    fate = np.min(fate, axis=1, where=searched.tied, initial=max(Fate))
    shape = (len(rows), len(columns))
    return Exact(rows, columns, fate.reshape(shape), searched.loss.reshape(shape))


def _thinned(length: int, most: int) -> np.ndarray:
    """Indices of at most so many values, evenly spread, with the first and the last."""
    return np.linspace(0, length - 1, min(length, most)).round().astype(int)


def _averaged(values: Measured, kept: np.ndarray, grid: Diagram) -> Measured:
    """Average over the kept models of each cell and lay the cells out as the grid."""
    return Measured(*(aggregate(value, kept)[grid.cell] for value in values))


def _numbers(grid: Diagram, arrays: Arrays) -> dict[str, float]:
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


def _exact_numbers(arrays: Arrays, exact: Exact) -> dict[str, float]:
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


def _rows(grid: Diagram, arrays: Arrays, exact: Exact) -> list[Row]:
    classes = ("class_trained", "class_best", "class_closed")
    measured = ("norm", "superposition", "loss", "loss_best", "loss_closed", "ratio")
    at = {point: k for k, point in enumerate(itertools.product(exact.rows, exact.columns))}
    return [
        {
            "p": float(grid.p[i]),
            "r": float(grid.r[j]),
            **{name: WORDS[int(arrays[name][i, j])] for name in classes},
            "class_exact": WORDS[int(exact.fate.flat[at[i, j]])] if (i, j) in at else None,
            **{name: number(arrays[name][i, j]) for name in measured},
            "loss_exact": number(exact.loss.flat[at[i, j]]) if (i, j) in at else None,
        }
        for i, j in np.ndindex(grid.cell.shape)
    ]


CLASSES = {
    "class_trained": Key("class of the last feature in the selected models", "word"),
    "class_best": Key("class in the best model", "word"),
    "class_closed": Key("class of the best closed form", "word"),
    "class_exact": Key("class of the exact optimum", "word"),
}
POINTS = {
    "norm": Key("‖W_i‖ of the last feature"),
    "superposition": Key("squared interference met by the last feature"),
    "loss": Key("loss of the selected models, mean", "loss"),
    "loss_best": Key("loss of the best model", "loss"),
    "loss_closed": Key("loss of the best closed form", "loss"),
    "ratio": Key("loss by loss_closed"),
}
AT_1 = "at the r closest to 1"
ANALYSIS = Analysis(
    question=(
        "Ignored, in superposition or dedicated: what becomes of the last of two or three features?"
    ),
    needs=(
        needs.sweeps_only(PROBABILITY, IMPORTANCE),
        needs.probabilities(1),
        needs.RELU_OUTPUT,
        needs.sizes(*SHAPES),
        needs.INDEPENDENT,
        needs.IDENTITY,
        needs.UNIT_INTERVAL,
        needs.unit_importance(but_last=True),
        needs.POSITIVE_IMPORTANCE,
    ),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "cells": Key("cells of the run"),
            "cells_exact": Key("cells whose exact optimum was searched"),
            "class_agreement": Key("share of cells whose class_trained is class_closed"),
            "class_agreement_best": Key("share of cells whose class_best is class_closed"),
            "boundary": Key(f"p up to which features are superposed, trained, {AT_1}"),
            "boundary_closed": Key(f"the same in closed form, {AT_1}"),
            "boundary_lowest_r": Key("boundary at the lowest r"),
            "boundary_closed_lowest_r": Key("boundary_closed at the lowest r"),
            "ratio_sparse": Key(f"median of ratio over p <= {SPARSE:g}"),
            "ratio_least": Key("least ratio"),
            "ratio_most": Key("largest ratio"),
            "slope_jump": Key(f"factor that dL/dp falls by at boundary_closed, trained, {AT_1}"),
            "slope_jump_closed": Key(f"the same in closed form, {AT_1}"),
            "class_agreement_exact": Key("share of cells whose class_exact is class_closed"),
            "class_agreement_trained_exact": Key("share whose class_exact is class_trained"),
            "class_agreement_best_exact": Key("share whose class_exact is class_best"),
            "boundary_exact": Key(f"boundary of the exact optimum, {AT_1}"),
            "boundary_exact_lowest_r": Key("boundary of the exact optimum at the lowest r"),
            "slope_jump_exact": Key(f"slope_jump of the exact optimum, {AT_1}"),
            "exact_to_closed_least": Key("least loss_exact by loss_closed"),
            "exact_to_closed_most": Key("largest loss_exact by loss_closed"),
            "ratio_to_exact": Key("median of loss by loss_exact"),
            "ratio_to_exact_most": Key("largest loss by loss_exact"),
            "share_near_exact": Key(f"share of cells with loss within {NEAR:g} times loss_exact"),
            "best_to_exact": Key("median of loss_best by loss_exact"),
            "best_to_exact_least": Key("least loss_best by loss_exact"),
            "best_to_exact_most": Key("largest loss_best by loss_exact"),
        },
        rows={
            "p": Key("feature probability"),
            "r": Key("importance of the last feature"),
            **CLASSES,
            **POINTS,
            "loss_exact": Key("loss of the exact optimum, where it was searched", "loss"),
        },
        arrays={
            "p": Key("feature probabilities, ascending", shape="[P]"),
            "r": Key("importances of the last feature, ascending", shape="[R]"),
            **{k: one._replace(unit="1", shape="[P, R]") for k, one in CLASSES.items()},
            **{k: one._replace(shape="[P, R]") for k, one in POINTS.items()},
            "p_exact": Key("the p of the exact optimum", shape="[P']"),
            "r_exact": Key("the r of the exact optimum", shape="[R']"),
            "class_exact": Key("class of the exact optimum", shape="[P', R']"),
            "loss_exact": Key("loss of the exact optimum", "loss", "[P', R']"),
            "boundary": Key("p up to which features are superposed, trained", shape="[R]"),
            "boundary_closed": Key("the same in closed form", shape="[R]"),
            "boundary_exact": Key("the same of the exact optimum", shape="[R']"),
        },
    ),
    compute=phase,
)
