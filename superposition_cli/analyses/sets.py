"""How do features that are active together, or never together, share dimensions?

Correlated features prefer orthogonal vectors, and at high p one direction for the whole set
(its first principal component); anticorrelated ones prefer opposite vectors. Cells are in
order of rising p. Source: Elhage et al. 2022, "Correlated and anticorrelated features".
"""

from collections import Counter
from functools import partial
from typing import NamedTuple

import jax
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.analyses.selection import Selected
from superposition_cli.config import Setting
from superposition_cli.measures import geometry
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.theory import correlation, linear
from superposition_cli.toy.objectives import affordable, expected_loss, has_expected_loss
from superposition_cli.toy.spec import Knobs, Params, Spec

SHORTEST = 0.3  # of vectors looked at: ten features on one unit vector have .32 each
COLLAPSED_COSINE = 0.95
FINER = 4  # more quadrature nodes per axis than training has, whose error it may exploit
MOST = 2**22  # numbers in the n by Q array of these nodes; six features never have so many


class Partition(NamedTuple):
    """Which features belong together."""

    sets: tuple[tuple[int, ...], ...]
    within: np.ndarray  # [n, n] bool: two features of one set
    between: np.ndarray  # [n, n] bool: features of two sets


class ClosedForms(NamedTuple):
    """What arrangements of one kind cost; None where there are too few dimensions."""

    linear: float
    digons: float | None
    collapsed: float | None


def sets(results: Results) -> Finding:
    """Return cosines within and between sets for each cell's selected model, and its loss.

    Where patterns of activity are few the loss is the expected one, with more quadrature nodes
    than in training (right to 1 % with four active features); else that of the cells. Cells whose
    models all diverged are left out.
    """
    models = selection.selected(results, "sets")
    models = sorted(models, key=lambda model: np.mean(model.setting.feature_probability()))
    setting = models[0].setting
    parts = partition(setting.sets(), setting.model.n_features)
    W = np.stack([model.params["W"] for model in models]).astype(np.float64)
    rows: list[Row] = []
    for model, embedded in zip(models, W, strict=True):
        measured = {"p": _common_probability(model.setting), **embedding(embedded, parts)}
        loss = _refined_loss(model)
        rows.append({**model.axes, **measured, **_losses(model.setting, loss)})
    return Finding(overall(setting, rows), tuple(rows), _arrays(rows, W, parts))


def _common_probability(setting: Setting) -> float | None:
    """The probability of every set; None where sets differ in it."""
    p = set(setting.feature_probability())
    return p.pop() if len(p) == 1 else None


def partition(members: tuple[tuple[int, ...], ...], n_features: int) -> Partition:
    """Return who is in a set with whom."""
    owner = _owner(members, n_features)
    same = owner[:, None] == owner
    return Partition(tuple(map(tuple, members)), same & ~np.eye(n_features, dtype=bool), ~same)


def embedding(W: np.ndarray, parts: Partition) -> Row:
    """Measure one embedding, W [n, m]: cosines within and between sets, and collapsed sets.

    Over features with ‖W_i‖ > .3, of either kind: least, most and rms of the cosines, largest
    and mean |cos|, and antipode, the largest over features of the least cosine with another
    feature, -1 where each has its opposite. rms_ratio is between / within. The rest is of
    `collapsed` and `adjacent`. None where there are no two such features; outside the plane
    gaps and adjacent_sets are None too.
    """
    norms = np.linalg.norm(W, axis=1)
    there = norms > SHORTEST
    seen = there[:, None] & there
    cos = cosines(W)
    of_kind = {
        "within": np.where(parts.within & seen, cos, np.nan),
        "between": np.where(parts.between & seen, cos, np.nan),
    }
    spread = {
        f"{kind}_{name}": value
        for kind, values in of_kind.items()
        for name, value in _spread(values).items()
    }
    within, between = spread["within_rms"], spread["between_rms"]
    planar = W.shape[1] == 2
    gaps = geometry.angles_2d(W) if planar else np.zeros(0)
    return {
        "norm_least": float(norms.min()),
        "norm_most": float(norms.max()),
        **spread,
        "rms_ratio": between / within if within and between is not None else None,
        "n_collapsed": collapsed(W, parts),
        "adjacent_sets": adjacent(W, parts) if planar else None,
        "smallest_gap": float(gaps[0]) if len(gaps) else None,
        "largest_gap": float(gaps[-1]) if len(gaps) else None,
    }


def cosines(W: np.ndarray) -> np.ndarray:
    """Return the cosine of every two features, [n, m] -> [n, n]; 0 for a zero vector."""
    norms = np.linalg.norm(W, axis=1, keepdims=True)
    directions = np.divide(W, norms, out=np.zeros_like(W), where=norms > 0)
    return directions @ directions.T


def collapsed(W: np.ndarray, parts: Partition) -> int:
    """Count the sets of two or more features on one ray: all |W_i| > .3, all cosines > .95."""
    norms, cos = np.linalg.norm(W, axis=1), cosines(W)
    shared = [list(members) for members in parts.sets if len(members) > 1]
    return sum(
        bool(norms[one].min() > SHORTEST and cos[np.ix_(one, one)].min() > COLLAPSED_COSINE)
        for one in shared
    )


def adjacent(W: np.ndarray, parts: Partition) -> int:
    """Count the sets whose features follow one another around the plane, W [n, 2].

    Features with ‖W_i‖ <= .3 have no place; a set with such a feature is not counted.
    """
    there = np.flatnonzero(np.linalg.norm(W, axis=1) > SHORTEST)
    around = there[np.argsort(np.arctan2(W[there, 1], W[there, 0]), kind="stable")]
    owner = _owner(parts.sets, len(W))[around]
    ends = Counter(owner[owner != np.roll(owner, -1)].tolist())
    size = Counter(owner.tolist())
    return sum(
        size[index] == len(members) and ends[index] <= 1 for index, members in enumerate(parts.sets)
    )


def closed_forms(setting: Setting) -> ClosedForms:
    """Return what the best linear model costs, and arrangements of digons or collapsed sets.

    Digons need n/2 dimensions: of features of two correlated sets each p²/3, p being the same
    for all sets, of features of one anticorrelated set 0. Collapsed sets need a dimension each and
    are for correlated data.
    """
    n, m = setting.model.n_features, setting.model.n_hidden
    sizes = np.array([len(members) for members in setting.sets()])
    p = np.array([setting.feature_probability()[members[0]] for members in setting.sets()])
    tied = setting.data.kind == "correlated"
    covariance = selection.covariance(setting)
    with jax.enable_x64(True):
        pair = float(correlation.digon_loss(p[0] * p[0] if tied else 0.0))
        alone = float(np.sum(np.asarray(correlation.collapsed_loss(p, sizes))))
    paired = n <= 2 * m and _pairs_up(sizes.tolist(), across=tied)
    alike = not tied or len(set(p)) == 1
    return ClosedForms(
        linear.linear_optimum(np.array(setting.importance(), float), covariance, m),
        n / 2 * pair if paired and alike else None,
        alone if tied and len(sizes) <= m else None,
    )


def overall(setting: Setting, rows: list[Row]) -> dict[str, float | int | bool | None]:
    """Return what holds for all cells together; rows in order of rising p.

    collapse_rises: whether the number of collapsed sets never falls as p rises.
    collapse_boundary: the p from which digons cost more than collapsed sets, in closed form;
    null where either does not fit or sets differ in size or in p.
    """
    counts = [row["n_collapsed"] for row in rows]
    size = {len(members) for members in setting.sets()}
    both = (rows[0]["p"], rows[0]["loss_digons"], rows[0]["loss_collapsed"])
    comparable = len(size) == 1 and None not in both
    with jax.enable_x64(True):
        boundary = float(correlation.collapse_boundary(*size)) if comparable else None
    return {
        "cells": len(rows),
        "n_sets": len(setting.sets()),
        "collapse_rises": bool(np.all(np.diff(counts) >= 0)),
        "collapse_boundary": boundary,
    }


def _pairs_up(sizes: list[int], across: bool) -> bool:
    """Whether all features can form pairs across sets, or else within sets."""
    if not across:
        return all(size % 2 == 0 for size in sizes)
    return sum(sizes) % 2 == 0 and 2 * max(sizes) <= sum(sizes)


def _owner(members: tuple[tuple[int, ...], ...], n_features: int) -> np.ndarray:
    owner = np.zeros(n_features, np.int64)
    for index, one in enumerate(members):
        owner[list(one)] = index
    return owner


def _spread(values: np.ndarray) -> dict[str, float | None]:
    """Summarise cosines [n, n] of one kind, NaN where there is none."""
    known = values[np.isfinite(values)]
    if not known.size:
        return dict.fromkeys(("least", "most", "max_abs", "mean_abs", "rms", "antipode"))
    lowest = np.min(values, axis=1, initial=np.inf, where=np.isfinite(values))
    return {
        "least": float(known.min()),
        "most": float(known.max()),
        "max_abs": float(np.abs(known).max()),
        "mean_abs": float(np.abs(known).mean()),
        "rms": float(np.sqrt((known**2).mean())),
        "antipode": float(lowest[np.isfinite(lowest)].max()),
    }


def _refined_loss(model: Selected) -> float:
    spec, knobs = selection.in_float64(model.setting)
    if not has_expected_loss(spec):
        return model.recorded("loss")
    with jax.enable_x64(True):
        params = {name: np.asarray(leaf, np.float64) for name, leaf in model.params.items()}
        return float(_finer_loss(spec, knobs, params))


@partial(jax.jit, static_argnums=0)
def _finer_loss(spec: Spec, knobs: Knobs, params: Params) -> jax.Array:
    finer = min(FINER, affordable(spec, MOST // spec.n_features))
    return expected_loss(spec, knobs, params, finer)


def _losses(setting: Setting, loss: float) -> dict[str, float | None]:
    forms = closed_forms(setting)
    return {
        "loss": loss,
        "loss_linear": forms.linear,
        "loss_digons": forms.digons,
        "loss_collapsed": forms.collapsed,
        "linear_ratio": loss / forms.linear if forms.linear else None,
        "digon_ratio": loss / forms.digons if forms.digons else None,
    }


def _arrays(rows: list[Row], W: np.ndarray, parts: Partition) -> Arrays:
    names = ("p", "loss", "loss_linear", "loss_digons", "loss_collapsed", "n_collapsed")
    return {
        **{name: np.array([row[name] for row in rows], float) for name in names},
        "W": W,
        "cosines": np.stack([cosines(one) for one in W]),
        "set_of": _owner(parts.sets, W.shape[1]),
    }


COSINES = {
    "least": "least cosine of two features",
    "most": "largest cosine of two features",
    "max_abs": "largest |cos| of two features",
    "mean_abs": "mean |cos| of two features",
    "rms": "root mean square of cosines",
    "antipode": "largest over features of the least cosine with another",
}
LOSSES = {
    "loss": Key("loss of the model", "loss"),
    "loss_linear": Key("loss of the best linear model", "loss"),
    "loss_digons": Key("loss of digons, in closed form", "loss"),
    "loss_collapsed": Key("loss of collapsed sets, in closed form", "loss"),
}
PLACES = {"within": "of one set", "between": "of two sets"}
ANALYSIS = Analysis(
    question=("How do features that are active together, or never together, share dimensions?"),
    needs=(
        needs.sweeps_only(needs.PROBABILITY, or_none=True),
        needs.among("data.kind", "correlated", "anticorrelated"),
        needs.RELU_OUTPUT,
        needs.IDENTITY,
        needs.UNIT_INTERVAL,
        needs.unit_importance(),
        needs.MOMENTS,
    ),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "n_sets": Key("number of sets"),
            "collapse_rises": Key("whether n_collapsed never falls as p rises", "bool"),
            "collapse_boundary": Key("p from which digons cost more than collapsed sets"),
        },
        rows={
            "p": Key("probability of a set; null where sets differ in it"),
            "norm_least": Key("shortest ‖W_i‖"),
            "norm_most": Key("longest ‖W_i‖"),
            **{
                f"{kind}_{name}": Key(f"{meaning}, {whose}")
                for kind, whose in PLACES.items()
                for name, meaning in COSINES.items()
            },
            "rms_ratio": Key("between_rms by within_rms"),
            "n_collapsed": Key("sets of several features on one ray"),
            "adjacent_sets": Key("sets whose features are side by side in the plane"),
            "smallest_gap": Key("smallest angle between neighbouring features", "degrees"),
            "largest_gap": Key("largest angle between neighbouring features", "degrees"),
            **LOSSES,
            "linear_ratio": Key("loss by loss_linear"),
            "digon_ratio": Key("loss by loss_digons"),
        },
        arrays={
            "p": Key("probability of a set; NaN where sets differ in it", shape="[C]"),
            **{name: key._replace(shape="[C]") for name, key in LOSSES.items()},
            "n_collapsed": Key("sets of several features on one ray", shape="[C]"),
            "W": Key("embedding", shape="[C, n, m]"),
            "cosines": Key("cosine of every two features", shape="[C, n, n]"),
            "set_of": Key("the set of each feature", shape="[n]"),
        },
    ),
    compute=sets,
)
