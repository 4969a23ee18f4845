"""Does it matter in which basis the hidden vector is written?

The rotation test: rotate the hidden space of each cell's selected model and let both
matrices take the rotation in. Without a nonlinearity between them the model computes what it
did, so its basis is not privileged; with one the loss rises. Source: the idea is that of
Elhage et al. 2022, "Privileged and non-privileged bases".
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import rotations
from superposition_cli.running import grid
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.toy import data, models, rng
from superposition_cli.toy.objectives import answer_loss, batch_loss, null_loss
from superposition_cli.toy.spec import Knobs, Params, Spec

ROTATIONS = 16
SAMPLES = 65_536
ANGLES = np.linspace(0, 360, 37)  # degrees
LEAST_LOSS = 1e-12  # below it a ratio of losses says nothing
LINEAR = ("linear", "relu_output")  # kinds without a nonlinearity on the hidden vector


def rotation(results: Results) -> Finding:
    """Return how the loss of each cell's selected model changes when its hidden space turns.

    All on one fresh batch for a cell, in float32, with 16 rotations R from the Haar law, the
    same for all cells of one seed and m. loss: that of the model f. rotated_loss: the mean
    over R of that of f_R, with R taken in by both matrices (`models.rotated`), and
    rotation_ratio: that by loss. unabsorbed_loss and unabsorbed_ratio: the same with R
    applied to the hidden activation alone, the read-out as trained. Ratios are null where
    the loss is below 1e-12, NaN in arrays.

    Arrays: ratios and unabsorbed [cells, rotations]; curve [cells, angles], the ratio of
    f_R with R by `angle` (degrees) as in `rotations.by_angle`; cell [cells].

    Raises `InvalidInput` for m = 1, which has no rotations, and where no cell has a selected
    model. Cells without one are left out.
    """
    kept = list(results.selected)
    settings = [results.plan.setting(cell) for cell in kept]
    if not kept:
        raise InvalidInput("rotation needs a selected model in at least one cell")
    if min(one.model.n_hidden for one in settings) < 2:
        raise InvalidInput("rotation needs n_hidden of at least 2: a line has no rotations")
    found = [
        test(setting, results.model(results.selected[cell]))
        for cell, setting in zip(kept, settings, strict=True)
    ]
    rows = tuple(
        {**results.plan.assignment(cell), "kind": setting.model.kind, **_row(one)}
        for cell, setting, one in zip(kept, settings, found, strict=True)
    )
    arrays = {
        name: np.stack([_ratios(one[name], one["loss"]) for one in found])
        for name in ("rotated", "unabsorbed", "curve")
    }
    arrays["ratios"] = arrays.pop("rotated")
    return Finding(overall(rows), rows, {**arrays, "angle": ANGLES, "cell": np.array(kept)})


def test(setting: Setting, params: Arrays) -> dict[str, np.ndarray]:
    """Return the losses of one model: loss, null [], rotated, unabsorbed [R], curve [angles]."""
    key = jax.random.fold_in(rng.key(setting.seed), rng.Use.ROTATION)
    knobs = grid.knobs_of_one(setting, "float32")
    single = {name: np.asarray(leaf, np.float32) for name, leaf in params.items()}
    with jax.default_matmul_precision("highest"):
        found = _losses(grid.spec_of(setting), knobs, key, single)
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


@partial(jax.jit, static_argnums=0)
def _losses(spec: Spec, knobs: Knobs, key: jax.Array, params: Params) -> dict[str, jax.Array]:
    model, m = models.MODELS[spec.model], spec.n_hidden
    of_data, of_rotations = rng.parts(key, 2)
    x = data.SAMPLERS[spec.data].draw(spec, knobs, of_data, SAMPLES)
    drawn = rotations.haars(of_rotations, ROTATIONS, m)
    hidden = model.hidden(params, x)

    def absorbed(R: jax.Array) -> jax.Array:
        return batch_loss(spec, knobs, models.rotated(model.axes, params, R), x)

    def unabsorbed(R: jax.Array) -> jax.Array:
        return answer_loss(spec, knobs, x, model.read_out(params, R @ hidden))

    turns = jax.vmap(lambda angle: rotations.by_angle(angle, m))(jnp.deg2rad(ANGLES))
    return {
        "loss": batch_loss(spec, knobs, params, x),
        "null": null_loss(spec, knobs),
        "rotated": jax.lax.map(absorbed, drawn),
        "unabsorbed": jax.lax.map(unabsorbed, drawn),
        "curve": jax.lax.map(absorbed, turns),
    }


def _row(found: dict[str, np.ndarray]) -> dict[str, Any]:
    loss = float(found["loss"])
    return {
        "loss": loss,
        "loss_normalised": loss / float(found["null"]),
        "rotated_loss": float(found["rotated"].mean()),
        "rotation_ratio": _ratio(found["rotated"].mean(), loss),
        "rotation_ratio_least": _ratio(found["rotated"].min(), loss),
        "rotation_ratio_most": _ratio(found["rotated"].max(), loss),
        "unabsorbed_loss": float(found["unabsorbed"].mean()),
        "unabsorbed_ratio": _ratio(found["unabsorbed"].mean(), loss),
    }


def _ratios(losses: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Losses by a loss; NaN where that is next to nothing."""
    return losses / loss if loss >= LEAST_LOSS else np.full_like(losses, np.nan)


def _ratio(rotated: float, loss: float) -> float | None:
    return float(rotated) / loss if loss >= LEAST_LOSS else None


def overall(rows: tuple[Row, ...]) -> dict[str, float | int | None]:
    """Return what holds for all cells together, null where there is no cell of its kind.

    rotation_gap_linear: the largest |rotation_ratio - 1| of models that are linear up to
    their hidden vector; rotation_ratio_relu: the least rotation_ratio of the others;
    unabsorbed_least: the least unabsorbed_ratio of all.
    """
    known = [row for row in rows if row["rotation_ratio"] is not None]
    linear = [abs(row["rotation_ratio"] - 1) for row in known if row["kind"] in LINEAR]
    relu = [row["rotation_ratio"] for row in known if row["kind"] not in LINEAR]
    return {
        "cells": len(rows),
        "rotation_gap_linear": max(linear, default=None),
        "rotation_ratio_relu": min(relu, default=None),
        "unabsorbed_least": min((row["unabsorbed_ratio"] for row in known), default=None),
    }
