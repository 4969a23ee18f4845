"""What does a pentagon of five features do when one of them is different?

Non-uniform superposition: five features in the plane, the first with a feature probability
or an importance of its own. Training ends on one of two branches, a deformed pentagon or two
digons that leave a feature out; where their losses cross, the best model changes at once.
Source: Elhage et al. 2022, "Non-uniform superposition".
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.measures import geometry
from superposition_cli.running.results import Results
from superposition_cli.toy.metrics import REPRESENTED_NORM

SHAPE = (5, 2)
BRANCHES = ("pentagon", "digons")
PENTAGON_NORM = 0.9  # a shorter vector is still on its way to the other branch
PENTAGON_GAP = 36.0  # degrees, half of a regular pentagon's: closer ones share a direction
ANTIPODAL = -0.95  # cosine up to which two vectors are opposite
PARALLEL = 0.1  # sine up to which a vector is on the axis of another
MEASURED = ("norm_first", "norm_others", "bias_first", "bias_others", "space_first")
GAPS = ("smallest_gap", "largest_gap")


class Solution(NamedTuple):
    """The best model of one branch in one cell, in canonical orientation."""

    loss: float
    models: int  # of the cell's, that are on the branch
    W: np.ndarray  # [5, 2]
    b: np.ndarray  # [5]


class Place(NamedTuple):
    """Where a cell stands: `ratio` times the value that the other features have."""

    base: float
    ratio: float
    cell: int


def pentagon(results: Results) -> Finding:
    """Return the best model of either branch in every cell, and where the branches cross.

    All restarts count, not only selected ones. Cells are in order of base, the value of the
    other four features, and of ratio, the first feature's value by it; cells of one base are
    a curve. crossing is the highest ratio below 1, crossing_above the lowest above 1, at
    which the other branch becomes the better one; null where none does.

    A feature that two digons leave out with a negative bias is silent and has no gradient.
    It costs I_i p_i²/4 more than one that answers its mean, which few restarts find.
    """
    perturbed, places = perturbation(results)
    columns = results.summary
    by_cell = (-1, results.plan.restarts)
    loss = columns["loss"].reshape(by_cell).astype(float)
    finite = (columns["status"] == "ok").reshape(by_cell) & np.isfinite(loss)
    W = results.weights["W"].reshape(*finite.shape, *SHAPE).astype(float)
    b = results.weights["b"].reshape(*finite.shape, SHAPE[0]).astype(float)
    of_cells = [best(loss[i][finite[i]], W[i][finite[i]], b[i][finite[i]]) for _, _, i in places]
    assignments = [results.plan.assignment(place.cell) for place in places]
    return assemble(perturbed, places, assignments, of_cells)


def assemble(
    perturbed: str,
    places: list[Place],
    assignments: Sequence[Row],
    of_cells: list[dict[str, Solution]],
) -> Finding:
    """Put the solutions of all cells together, in order of base and ratio [C].

    Arrays by branch have the pentagon first, NaN where no model is on it.
    """
    arrays = {
        "base": np.array([place.base for place in places]),
        "ratio": np.array([place.ratio for place in places]),
        "loss": _stacked(of_cells, "loss", ()),
        "W": _stacked(of_cells, "W", SHAPE),
        "b": _stacked(of_cells, "b", SHAPE[:1]),
    }
    curves = {}
    for base in np.unique(arrays["base"]):
        on = arrays["base"] == base
        curves[float(base)] = nearest(crossings(arrays["ratio"][on], arrays["loss"][on]))
    rows = []
    for place, assignment, solutions in zip(places, assignments, of_cells, strict=True):
        crossing = curves[place.base][0]
        where = {"base": place.base, "ratio": place.ratio, "crossing": crossing}
        rows.append({**assignment, **where, **measure(solutions)})
    numbers = {
        "perturbed": perturbed,
        "cells": len(places),
        "curves": len(curves),
        **overall(list(curves.values())),
    }
    return Finding(numbers, tuple(rows), arrays)


def overall(curves: list[tuple[float | None, float | None]]) -> dict[str, float | bool | None]:
    """Return the crossings of the lowest base, and how they change up to the highest.

    crossing_rises: whether each curve crosses at a higher ratio than the one of the next
    lower base, null for a single curve.
    """
    below = [one[0] for one in curves]
    rises = None not in below and bool(np.all(np.diff(np.array(below, float)) > 0))
    return {
        "crossing": below[0],
        "crossing_above": curves[0][1],
        "crossing_highest_base": below[-1],
        "crossing_rises": rises if len(curves) > 1 else None,
    }


def perturbation(results: Results) -> tuple[str, list[Place]]:
    """Return what the first feature differs in, and the cells in order of base and ratio."""
    settings = selection.settings(results)
    values = {
        "feature_probability": np.array([one.feature_probability() for one in settings]),
        "importance": np.array([one.importance() for one in settings]),
    }
    (perturbed,) = [name for name, value in values.items() if (value[:, 0] != value[:, 1]).any()]
    base = values[perturbed][:, 1].tolist()
    ratio = (values[perturbed][:, 0] / values[perturbed][:, 1]).tolist()
    return perturbed, sorted(Place(base[i], ratio[i], i) for i in range(len(settings)))


def branch(W: np.ndarray) -> str | None:
    """Say on which branch an embedding [5, 2] is; None for all others.

    pentagon: five vectors longer than .9, no two closer than 36 degrees. digons: four
    represented features, each opposite to exactly one other (cosine below -.95).
    """
    norms = np.linalg.norm(W, axis=1)
    if (norms > PENTAGON_NORM).all():
        return "pentagon" if geometry.angles_2d(W)[0] > PENTAGON_GAP else None
    kept = norms > REPRESENTED_NORM
    if kept.sum() != 4:
        return None
    directions = W[kept] / norms[kept][:, None]
    partners = (directions @ directions.T < ANTIPODAL).sum(axis=1)
    return "digons" if (partners == 1).all() else None


def best(loss: np.ndarray, W: np.ndarray, b: np.ndarray) -> dict[str, Solution]:
    """Return the model of least loss of each branch: loss [R], W [R, 5, 2], b [R, 5].

    A branch that no model is on is left out.
    """
    names = [branch(one) for one in W]
    solutions = {}
    for name in BRANCHES:
        on = [i for i, named in enumerate(names) if named == name]
        if on:
            i = min(on, key=lambda model: loss[model])
            solutions[name] = Solution(float(loss[i]), len(on), canonical(W[i]), b[i])
    return solutions


def canonical(W: np.ndarray) -> np.ndarray:
    """Return an embedding [n, 2] rotated and reflected into its canonical orientation.

    The first feature points along +x and the second has y > 0. A feature that is not
    represented does not count: the next one takes its place, as it does for the second one
    where that is on the axis of the first. W needs one represented feature.
    """
    norms = np.linalg.norm(W, axis=1)
    kept = np.flatnonzero(norms > REPRESENTED_NORM)
    x, y = W[kept[0]] / norms[kept[0]]
    turned = W @ np.array([[x, -y], [y, x]])
    beside = [i for i in kept if abs(turned[i, 1]) > PARALLEL * norms[i]]
    return turned * [1, -1] if beside and turned[beside[0], 1] < 0 else turned


def space(W: np.ndarray, feature: int) -> float | None:
    """Return half the angle between a feature's neighbours in the plane, in degrees.

    The mean of the gaps on its two sides, 72 in a regular pentagon; None for a feature that
    is not represented or is alone. W is [n, 2].
    """
    kept = np.linalg.norm(W, axis=1) > REPRESENTED_NORM
    if not kept[feature] or kept.sum() < 2:
        return None
    angles = np.degrees(np.arctan2(W[:, 1], W[:, 0]))
    kept[feature] = False
    around = (angles[kept] - angles[feature]) % 360
    return float(around.min() + 360 - around.max()) / 2


def measure(solutions: dict[str, Solution]) -> Row:
    """Return the columns of one cell: both branches, the better one, and what digons ignore."""
    columns: dict[str, float | str | None] = {
        "best": min(solutions, key=lambda name: solutions[name].loss, default=None),
        "digons_ignored": None,
    }
    for name in BRANCHES:
        branched = _columns(solutions[name]) if name in solutions else {"models": 0}
        columns |= {f"{name}_{key}": branched.get(key) for key in OF_BRANCH}
    if "digons" in solutions:
        norms = np.linalg.norm(solutions["digons"].W, axis=1)
        columns["digons_ignored"] = int(norms.argmin())
    return columns


def _columns(solution: Solution) -> Row:
    norms = np.linalg.norm(solution.W, axis=1)
    values = (norms[0], norms[1:].mean(), solution.b[0], solution.b[1:].mean())
    measured = (*map(float, values), space(solution.W, 0))
    gaps = geometry.angles_2d(solution.W)
    return {
        "models": solution.models,
        "loss": solution.loss,
        **dict(zip(MEASURED, measured, strict=True)),
        **dict(zip(GAPS, (float(gaps[0]), float(gaps[-1])), strict=True)),
    }


def crossings(ratio: np.ndarray, loss: np.ndarray) -> list[float]:
    """Return the ratios at which the better branch changes: ratio [V] ascending, loss [V, 2].

    Between neighbouring cells that have both branches, log(loss_pentagon / loss_digons) is
    taken to be linear in log ratio.
    """
    advantage, at = np.log(loss[:, 0] / loss[:, 1]), np.log(ratio)
    known = np.isfinite(advantage)
    changes = known[:-1] & known[1:] & ((advantage[:-1] > 0) != (advantage[1:] > 0))
    left = np.flatnonzero(changes)
    share = advantage[left] / (advantage[left] - advantage[left + 1])
    return [float(one) for one in np.exp(at[left] + share * (at[left + 1] - at[left]))]


def nearest(ratios: list[float]) -> tuple[float | None, float | None]:
    """Return the crossings next to ratio 1, below and above it."""
    below, above = [one for one in ratios if one < 1], [one for one in ratios if one >= 1]
    return max(below, default=None), min(above, default=None)


def _stacked(cells: list[dict[str, Solution]], name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One array of all cells and branches, [C, 2, ...]; NaN where there is no solution."""
    empty = np.full(shape, np.nan)
    return np.array(
        [[getattr(one[key], name) if key in one else empty for key in BRANCHES] for one in cells]
    )


OF_BRANCH = {
    "models": Key("models on the branch"),
    "loss": Key("loss of the best of them", "loss"),
    "norm_first": Key("‖W_i‖ of the first feature"),
    "norm_others": Key("‖W_i‖ of the others, mean"),
    "bias_first": Key("bias of the first feature"),
    "bias_others": Key("bias of the others, mean"),
    "space_first": Key("half the angle between the neighbours of the first feature", "degrees"),
    "smallest_gap": Key("smallest angle between neighbouring features", "degrees"),
    "largest_gap": Key("largest angle between neighbouring features", "degrees"),
}
ANALYSIS = Analysis(
    question="What does a pentagon of five features do when one of them is different?",
    needs=(
        needs.RELU_OUTPUT,
        needs.sizes(SHAPE),
        needs.INDEPENDENT,
        needs.IDENTITY,
        needs.EQUAL_BUT_FIRST,
        needs.POSITIVE_IMPORTANCE,
        needs.FIRST_DIFFERS,
        needs.ONE_CELL_EACH,
    ),
    runs_on="any",
    keys=Keys(
        numbers={
            "perturbed": Key("what the first feature differs in", "word"),
            "cells": Key("cells of the run"),
            "curves": Key("values of base"),
            "crossing": Key("ratio below 1 at which digons become better, at the lowest base"),
            "crossing_above": Key("ratio above 1 at which the better branch changes, there"),
            "crossing_highest_base": Key("crossing at the highest base"),
            "crossing_rises": Key("whether crossing rises from base to base", "bool"),
        },
        rows={
            "base": Key("value of the other four features"),
            "ratio": Key("value of the first feature by base"),
            "crossing": Key("crossing of this base"),
            "best": Key("branch of least loss, pentagon or digons", "word"),
            "digons_ignored": Key("the feature that digons leave out"),
            **{
                f"{name}_{key}": described._replace(meaning=f"{name}: {described.meaning}")
                for name in BRANCHES
                for key, described in OF_BRANCH.items()
            },
        },
        arrays={
            "base": Key("value of the other four features", shape="[C]"),
            "ratio": Key("value of the first feature by base", shape="[C]"),
            "loss": Key("least loss of each branch, NaN without a model", "loss", "[C, 2]"),
            "W": Key("that model's embedding in canonical orientation", shape="[C, 2, n, m]"),
            "b": Key("and its biases", shape="[C, 2, n]"),
        },
    ),
    compute=pentagon,
)
