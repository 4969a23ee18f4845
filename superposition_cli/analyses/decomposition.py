"""Where does the loss come from, from the first step to the last?

The loss of each cell's selected model, split by cause: features that are not reproduced
(benefit deficit) against features that disturb others (interference), and what belongs to
neither. Source: Elhage et al. 2022, "Feature benefit and interference".
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.running.results import Results
from superposition_cli.theory import linear
from superposition_cli.theory.expansion import LossTerms, loss_decomposition
from superposition_cli.theory.linear import LinearLossTerms
from superposition_cli.toy import metrics

TERMS = ("benefit_deficit", "interference", "bias", "silence", "pairs", "remainder")
KINDS = ("linear", "relu_output")


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

    loss_gap: |loss_terms / loss - 1|, with the loss of the run, computed another way or
    sampled. identity_gap: the same over all steps against `linear.linear_loss`.
    negative_share: the share of Σ_{i≠j} M_ij² from negative M_ij; null without any.

    Arrays: terms [cells, S, terms] with terms in the order of `TERMS`, NaN where a model has
    no such term; steps [S], updates made so far; cell [cells], their numbers.

    Raises `InvalidInput` for other models and data than those with such terms, and where
    shapes or steps differ between cells. Cells without a selected model are left out.
    """
    check(results)
    kept = results.selected
    if not kept:
        raise InvalidInput("decomposition needs a selected model in at least one cell")
    rows: list[Row] = []
    terms = []
    for cell, number in kept.items():
        path, setting = trajectory(results, number), results.plan.setting(cell)
        found = split(path, setting)
        losses = {name: float(results.cells[name][cell]) for name in ("loss", "loss_error")}
        rows.append({**results.plan.assignment(cell), **_row(setting, losses, found, path.W[-1])})
        terms.append(found.terms)
    steps = np.append(results.history["snapshot_step"], results.plan.setting(0).train.steps)
    arrays = {"terms": np.stack(terms), "steps": steps, "cell": np.array(list(kept))}
    return Finding(overall(rows), tuple(rows), arrays)


def check(results: Results) -> None:
    """Raise `InvalidInput` where the loss of a cell has no such terms."""
    settings = [results.plan.setting(cell) for cell in range(results.plan.experiment.n_cells)]
    for setting in settings:
        model, data = setting.model, setting.data
        if model.kind not in KINDS:
            raise InvalidInput(f"decomposition is for linear and relu_output, not {model.kind}")
        if (data.kind, data.target) != ("uniform", "identity"):
            raise InvalidInput("decomposition is for independent features and the target identity")
        if model.kind == "relu_output" and (data.low, data.high) != (0, 1):
            raise InvalidInput("decomposition of a relu_output model needs features in U[0, 1]")
    if len({(one.model.n_features, one.model.n_hidden, one.train.steps) for one in settings}) > 1:
        raise InvalidInput("decomposition needs the same n_features, n_hidden and steps everywhere")


def trajectory(results: Results, number: int) -> Trajectory:
    """Return the snapshots of a model by its number, followed by its trained parameters."""
    last = results.model(number)
    pieces = {
        name: np.concatenate([results.history[f"snapshot_{name}"][number], last[name][None]])
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


def _columns(found: LossTerms | LinearLossTerms) -> np.ndarray:
    """Put terms of [S] into the columns of `TERMS`: [S, terms]."""
    given = found._asdict()
    missing = np.full(found.interference.shape, np.nan)
    return np.stack([np.asarray(given.get(name, missing)) for name in TERMS], axis=1)


def _row(setting: Setting, losses: dict[str, float], found: Split, W: np.ndarray) -> Row:
    total = float(np.nansum(found.terms[-1]))
    norms = np.linalg.norm(W, axis=1)
    last = zip(TERMS, found.terms[-1], strict=True)
    return {
        "kind": setting.model.kind,
        "expected_active": float(sum(setting.feature_probability())),
        "represented": int(np.sum(norms > metrics.REPRESENTED_NORM)),
        **losses,
        "loss_terms": total,
        "loss_gap": abs(total / losses["loss"] - 1),
        "identity_gap": found.identity_gap,
        **{f"{name}_share": _number(one / total) for name, one in last},
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


def overall(rows: list[Row]) -> dict[str, Any]:
    """Return what holds for all cells together, null where there is no cell of its kind."""
    linear = [row for row in rows if row["kind"] == "linear"]
    relu = [row for row in rows if row["kind"] == "relu_output"]
    return {
        "cells": len(rows),
        "identity_gap": max((row["identity_gap"] for row in linear), default=None),
        "loss_gap_linear": max((row["loss_gap"] for row in linear), default=None),
        "loss_gap_relu": max((row["loss_gap"] for row in relu), default=None),
        "interference_share_linear": max(
            (row["interference_share"] for row in linear), default=None
        ),
    }


def _number(value: Any) -> float | None:
    """A number that JSON can hold; None where there is none."""
    return float(value) if np.isfinite(value) else None
