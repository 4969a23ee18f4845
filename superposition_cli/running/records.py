"""What a trained chunk leaves behind: named arrays, the model axis first, and their axes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jax import Array

from superposition_cli.running.fsio import Arrays
from superposition_cli.running.history import History
from superposition_cli.toy.metrics import METRICS
from superposition_cli.toy.models import MODELS
from superposition_cli.toy.spec import Spec, State

LOSSES = ("loss", "loss_error", "loss_normalised")
SHARED = ("loss_step", "snapshot_step")  # one for all models, without a model axis
HISTORY_AXES = {"loss": ("loss_step",), "loss_step": ("loss_step",)}


class Records(NamedTuple):
    """The three files of a chunk."""

    weights: Arrays
    history: Arrays
    metrics: Arrays


def records(
    spec: Spec,
    model: np.ndarray,
    state: State,
    snapshots: Arrays,
    snapshot_step: np.ndarray,
    history: History,
    judged: Mapping[str, Array],
) -> Records:
    """Gather the results of the first `len(model)` models of a chunk; the rest are copies.

    A diverged model has no loss: NaN. snapshots are [S, K, ...]; one of the end is what `state`
    holds.
    """
    real = slice(0, len(model))
    finite_steps = np.asarray(state.finite_steps)[real]
    metrics = {name: np.asarray(value)[real] for name, value in judged.items()}
    for name in LOSSES:
        metrics[name] = np.where(finite_steps < spec.steps, np.nan, metrics[name])
    metrics |= {"finite_steps": finite_steps, "converged": history.converged()[real]}
    past = {"loss": history.loss[real], "loss_step": history.kept, "snapshot_step": snapshot_step}
    for name, leaf in snapshots.items():
        is_end = (snapshot_step == spec.steps).reshape(-1, *[1] * (leaf.ndim - 1))
        whole = np.where(is_end, np.asarray(state.params[name]), leaf) if is_end.any() else leaf
        past[f"snapshot_{name}"] = np.swapaxes(whole[:, real], 0, 1)
    weights = {name: np.asarray(leaf)[real] for name, leaf in state.params.items()}
    return Records(*({"model": model, **part} for part in (weights, past, metrics)))


def axes(kind: str, name: str, part: str) -> tuple[str, ...]:
    """Return the axes of an array of a part: "model" first, unless all models share it.

    kind: the model's, which says what the axes of its parameters are.
    """
    if name in SHARED:
        return (name,)
    of_parameter = MODELS[kind].axes
    if part == "weights":
        return ("model", *of_parameter.get(name, ()))
    if part == "history":
        if name.startswith("snapshot_"):
            return ("model", "snapshot_step", *of_parameter[name.removeprefix("snapshot_")])
        return ("model", *HISTORY_AXES.get(name, ()))
    return ("model", *(METRICS[name].axes if name in METRICS else ()))
