"""Where does the loss come from, from the first step to the last?

The loss of each cell's selected model, split by cause: features that are not reproduced
(benefit deficit) against features that disturb others (interference), and what belongs to
neither. Source: Elhage et al. 2022, "Feature benefit and interference".
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row, number
from superposition_cli.config import Setting
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.theory.expansion import LossTerms, loss_decomposition
from superposition_cli.theory.linear import LinearLossTerms
from superposition_cli.toy import metrics

TERMS = ("benefit_deficit", "interference", "bias", "silence", "pairs", "remainder")


class Trajectory(NamedTuple):
    """One model at its snapshots and, last, as it is trained."""

    W: np.ndarray  # [S, n, m]
    b: np.ndarray  # [S, n]


class Split(NamedTuple):
    """The loss of one model over its trajectory, split by cause."""

    terms: np.ndarray  # [S, terms], in the order of `TERMS`, NaN where a model has no such term
    identity_gap: float | None  # the sum of a linear model's terms off its loss, largest share


def decomposition(results: Results) -> Finding:
    """Return the terms of the loss of each cell's selected model, at its end and on its way.

    Linear models have benefit deficit, interference and bias (`linear.linear_loss_terms`),
    ReLU-output models have silence, benefit deficit, interference, pairs and remainder
    (`expansion.loss_decomposition`): the interference there is that of single active
    features, and the last two hold inputs with more. Rows give each as a share of their
    sum, loss_terms (benefit_deficit_share ...). All in float64 from the weights as stored.

    The loss of the run, which loss_gap is against, is computed another way or sampled. Terms
    are in the order of `TERMS`. Cells without a selected model are left out.
    """
    rows: list[Row] = []
    terms = []
    models = selection.selected(results, "decomposition")
    for model in models:
        path = trajectory(results, model.number)
        parts = split(path, model.setting)
        losses = {name: model.recorded(name) for name in ("loss", "loss_error")}
        rows.append({**model.axes, **_row(model.setting, losses, parts, path.W[-1])})
        terms.append(parts.terms)
    steps = np.append(results.history["snapshot_step"], models[0].setting.train.steps)
    cell = np.array([model.cell for model in models])
    arrays = {"terms": np.stack(terms), "steps": steps, "cell": cell}
    return Finding(overall(rows), tuple(rows), arrays)


def trajectory(results: Results, model: int) -> Trajectory:
    """Return the snapshots of a model by its number, followed by its trained parameters."""
    last = results.model(model)
    pieces = {
        name: np.concatenate([results.history[f"snapshot_{name}"][model], last[name][None]])
        for name in ("W", "b")
    }
    return Trajectory(**{name: piece.astype(np.float64) for name, piece in pieces.items()})


def split(path: Trajectory, setting: Setting) -> Split:
    """Split the loss at every step of a trajectory, in float64."""
    data = setting.data
    with jax.enable_x64(True):
        importance = jnp.array(setting.importance(), float)
        p = jnp.array(setting.feature_probability(), float)
        if setting.model.kind == "relu_output":
            return Split(_columns(_relu_terms(*path, importance, p)), None)
        mean = p * (data.low + data.high) / 2
        variance = linear.uniform_variance(p, data.low, data.high)
        terms = _columns(_linear_terms(*path, importance, mean, variance))
        loss = np.asarray(_linear_loss(*path, importance, mean, jnp.diag(variance)))
    return Split(terms, float(np.max(np.abs(np.nansum(terms, axis=1) / loss - 1))))


_linear_terms = jax.jit(jax.vmap(linear.linear_loss_terms, (0, 0, None, None, None)))
_linear_loss = jax.jit(jax.vmap(linear.linear_loss, (0, 0, None, None, None)))


@jax.jit
def _relu_terms(W: jax.Array, b: jax.Array, importance: jax.Array, p: jax.Array) -> LossTerms:
    """One step after the other: memory is that of one decomposition, n³."""
    return jax.lax.map(lambda one: loss_decomposition(one[0], one[1], importance, p), (W, b))


def _columns(parts: LossTerms | LinearLossTerms) -> np.ndarray:
    """Put terms of [S] into the columns of `TERMS`: [S, terms]."""
    given = parts._asdict()
    missing = np.full(parts.interference.shape, np.nan)
    return np.stack([np.asarray(given.get(name, missing)) for name in TERMS], axis=1)


def _row(setting: Setting, losses: dict[str, float], parts: Split, W: np.ndarray) -> Row:
    total = float(np.nansum(parts.terms[-1]))
    norms = np.linalg.norm(W, axis=1)
    last = zip(TERMS, parts.terms[-1], strict=True)
    return {
        "kind": setting.model.kind,
        "expected_active": float(sum(setting.feature_probability())),
        "represented": int(np.sum(norms > metrics.REPRESENTED_NORM)),
        **losses,
        "loss_terms": total,
        "loss_gap": abs(total / losses["loss"] - 1),
        "identity_gap": parts.identity_gap,
        **{f"{name}_share": number(term / total) for name, term in last},
        "negative_share": negative_share(W),
    }


def negative_share(W: np.ndarray) -> float | None:
    """Return which share of Σ_{i≠j} M_ij², M = W Wᵀ, comes from negative M_ij: [n, m] -> [].

    A ReLU cuts negative interference off while a single feature is active, so it is nearly
    free when features are sparse. None where all M_ij are 0. Source: Elhage et al. 2022.
    """
    M = W @ W.T
    np.fill_diagonal(M, 0)
    total = np.sum(M**2)
    return float(np.sum(np.minimum(M, 0) ** 2) / total) if total > 0 else None


def overall(rows: list[Row]) -> dict[str, float | int | None]:
    """Return what holds for all cells together, null where there is no cell of its kind."""

    def most(key: str, kind: str) -> float | None:
        return max((row[key] for row in rows if row["kind"] == kind), default=None)

    return {
        "cells": len(rows),
        "identity_gap": most("identity_gap", "linear"),
        "loss_gap_linear": most("loss_gap", "linear"),
        "loss_gap_relu": most("loss_gap", "relu_output"),
        "interference_share_linear": most("interference_share", "linear"),
    }


IDENTITY_GAP = "the terms' sum off a linear model's loss, largest share over steps"
SHARES = {
    "benefit_deficit": "features that are not reproduced",
    "interference": "features that disturb others",
    "bias": "outputs whose mean is off",
    "silence": "inputs without an active feature",
    "pairs": "inputs with two active features",
    "remainder": "inputs with more active features",
}
ANALYSIS = Analysis(
    question="Where does the loss come from, from the first step to the last?",
    needs=(
        needs.among(needs.KIND, "linear", "relu_output"),
        needs.INDEPENDENT,
        needs.IDENTITY,
        needs.when(needs.KIND, "relu_output", needs.UNIT_INTERVAL),
        needs.same(needs.FEATURES, needs.HIDDEN, needs.STEPS),
    ),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "identity_gap": Key(f"{IDENTITY_GAP}, of any cell"),
            "loss_gap_linear": Key("largest loss_gap of a linear model"),
            "loss_gap_relu": Key("largest loss_gap of a relu_output model"),
            "interference_share_linear": Key("largest interference_share of a linear model"),
        },
        rows={
            "kind": Key("the kind of the model", "word"),
            "expected_active": Key("expected number of active features"),
            "represented": Key("features with ‖W_i‖ > 1/2"),
            "loss": Key("loss of the run", "loss"),
            "loss_error": Key("its standard error, 0 where it is exact", "loss"),
            "loss_terms": Key("sum of the terms", "loss"),
            "loss_gap": Key("|loss_terms / loss - 1|"),
            "identity_gap": Key(f"{IDENTITY_GAP}; null for other models"),
            **{
                f"{name}_share": Key(f"share of loss_terms from {cause}")
                for name, cause in SHARES.items()
            },
            "negative_share": Key("share of Σ_{i≠j} M_ij² from negative M_ij, M = W Wᵀ"),
        },
        arrays={
            "terms": Key(f"{', '.join(TERMS)}; NaN for none", "loss", "[C, S, terms]"),
            "steps": Key("updates made so far", "steps", "[S]"),
            "cell": CELL,
        },
    ),
    compute=decomposition,
)
