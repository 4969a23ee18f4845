"""Ignored, in superposition or dedicated: what becomes of the last of two or three features?

The phase diagram of Elhage et al. 2022: the map of trained classes over the feature
probability p and the importance r of the last feature, held against the closed forms of
`phases`. Arrays are [P, R], both axes ascending.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from superposition_cli.errors import InvalidInput
from superposition_cli.findings import Finding, Row
from superposition_cli.metrics import REPRESENTED_NORM
from superposition_cli.phases import (
    Fate,
    last_feature_fate,
    phase_boundary,
    three_feature_losses,
    two_feature_losses,
)
from superposition_cli.results import Results
from superposition_cli.tables import aggregate, select

SHAPES = ((2, 1), (3, 2))
PROBABILITY, IMPORTANCE = "data.feature_probability", "data.importance.last"
SUPERPOSED_ABOVE = 0.25  # squared interference met by the last feature
SPARSE = 0.1  # closed forms are within a percent of the optimum for p up to here
UNDECIDED = -1  # the class of a cell in which every model diverged
WORDS = {UNDECIDED: "undecided", **{int(fate): fate.name.lower() for fate in Fate}}


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


def phase(results: Results) -> Finding:
    """Return the trained and the closed-form phase diagram, and where they agree.

    Measured on the selected models, averaged over those of a cell, and again on the best
    model of each cell. boundary and slope_jump are taken at the r closest to 1.

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
    best = _averaged(values, select("best", loss, finite), grid)
    return compare(grid, chosen, best)


def compare(grid: Diagram, chosen: Measured, best: Measured) -> Finding:
    """Hold what was measured over a grid against the closed forms."""
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
    }
    arrays["boundary"] = boundary(grid.p, arrays["class_trained"])
    arrays["ratio"] = chosen.loss / closed.loss
    return Finding(_numbers(grid, arrays), tuple(_rows(grid, arrays)), arrays)


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


def last_feature(W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return norm and superposition of the last feature: [N, n, m] -> [N], [N].

    The norm of W_n, and the squared interference that it meets, Σ_{j<n} (Ŵ_n·W_j)²; 0 for
    a vector of length 0. Source: Elhage et al. 2022.
    """
    W = np.asarray(W, float)
    norm = np.linalg.norm(W[:, -1], axis=1)
    direction = W[:, -1] / np.where(norm > 0, norm, 1)[:, None]
    along = np.einsum("km,kjm->kj", direction, W[:, :-1])
    return norm, np.sum(along**2, axis=1)


def classify(norm: np.ndarray, superposition: np.ndarray) -> np.ndarray:
    """Return the class of the last feature as `Fate`, elementwise, -1 where there is none.

    Ignored: norm < 1/2; else superposed: superposition > 1/4; else dedicated.
    """
    represented = np.where(superposition > SUPERPOSED_ABOVE, Fate.SUPERPOSED, Fate.DEDICATED)
    fate = np.where(norm < REPRESENTED_NORM, Fate.IGNORED, represented)
    return np.where(np.isfinite(norm), fate, UNDECIDED).astype(np.int64)


def closed_forms(grid: Diagram) -> Closed:
    """Return class, loss and boundary of the best closed-form arrangement, in float64."""
    losses = two_feature_losses if grid.n_features == 2 else three_feature_losses
    with jax.enable_x64(True):
        p, r = grid.p[:, None], grid.r[None, :]
        loss = np.min(np.stack([np.asarray(one) for one in losses(p, r)]), axis=0)
        fate = np.asarray(last_feature_fate(p, r, grid.n_features), np.int64)
        return Closed(fate, loss, np.asarray(phase_boundary(grid.r)))


def boundary(p: np.ndarray, fate: np.ndarray) -> np.ndarray:
    """Return for each r the p up to which the last feature is superposed: [P, R] -> [R].

    The geometric mean of the highest p of that class and the next p: half a step of the
    grid is its error. NaN where no p or the highest p is of that class.
    """
    superposed = fate == Fate.SUPERPOSED
    highest = len(p) - 1 - superposed[::-1].argmax(axis=0)
    inside = superposed.any(axis=0) & (highest < len(p) - 1)
    following = np.minimum(highest + 1, len(p) - 1)
    return np.where(inside, np.sqrt(p[highest] * p[following]), np.nan)


def slope_jump(p: np.ndarray, loss: np.ndarray, at: float) -> float:
    """Return by which factor dL/dp falls at the grid point nearest to `at`.

    The slope below that point by the slope above it, from differences; NaN where one is not
    positive or p has fewer than three values. Beyond the boundary the loss turns down
    towards p = 1, so that factors elsewhere say nothing about a kink.
    """
    if len(p) < 3:
        return float("nan")
    slope = np.diff(loss) / np.diff(p)
    point = np.abs(np.log(p[1:-1] / at)).argmin()
    below, above = slope[point : point + 2]
    return float(below / above) if min(below, above) > 0 else float("nan")


def _averaged(values: Measured, kept: np.ndarray, grid: Diagram) -> Measured:
    """Average over the kept models of each cell and lay the cells out as the grid."""
    return Measured(*(aggregate(value, kept)[grid.cell] for value in values))


def _numbers(grid: Diagram, arrays: dict[str, np.ndarray]) -> dict[str, float | int | None]:
    at = int(np.abs(np.log(grid.r)).argmin())
    crossing = float(arrays["boundary_closed"][at])
    sparse = arrays["ratio"][grid.p <= SPARSE]
    numbers = {
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
    return {"cells": grid.cell.size, **{name: _number(v) for name, v in numbers.items()}}


def _rows(grid: Diagram, arrays: dict[str, np.ndarray]) -> list[Row]:
    classes = [name for name in arrays if name.startswith("class_")]
    measured = ("norm", "superposition", "loss", "loss_best", "loss_closed", "ratio")
    return [
        {
            "p": float(grid.p[i]),
            "r": float(grid.r[j]),
            **{name: WORDS[int(arrays[name][i, j])] for name in classes},
            **{name: _number(arrays[name][i, j]) for name in measured},
        }
        for i, j in np.ndindex(grid.cell.shape)
    ]


def _number(value: Any) -> float | None:
    """A number that JSON can hold; None where there is none."""
    return float(value) if np.isfinite(value) else None
