"""Does it matter in which basis the hidden vector is written?

The rotation test: rotate the hidden space of each cell's selected model and let both
matrices take the rotation in. Without a nonlinearity between them the model computes what it
did, so its basis is not privileged; with one the loss rises. Source: the idea is that of
Elhage et al. 2022, "Privileged and non-privileged bases".
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELL, CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
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
LEAST_LOSS = 1e-12  # below it ratios of losses are of rounding errors


def rotation(results: Results) -> Finding:
    """Return how the loss of each cell's selected model changes when its hidden space turns.

    All on one fresh batch for a cell, in float32, with 16 rotations R from the Haar law, the
    same for all cells of one seed and m. Both matrices take R in (`models.rotated`), or, for
    unabsorbed, it is applied to the hidden activation alone, the read-out as trained. Ratios
    are null where the loss is below 1e-12, NaN in arrays. Cells without a selected model are
    left out.
    """
    models = selection.selected(results, "rotation")
    losses = [test(model.setting, model.params) for model in models]
    rows = tuple(
        {**model.axes, "kind": model.setting.model.kind, **_row(of_model)}
        for model, of_model in zip(models, losses, strict=True)
    )
    arrays = {
        name: np.stack([_ratios(of_model[name], of_model["loss"]) for of_model in losses])
        for name in ("rotated", "unabsorbed", "curve")
    }
    arrays["ratios"] = arrays.pop("rotated")
    cell = np.array([model.cell for model in models])
    return Finding(overall(rows), rows, {**arrays, "angle": ANGLES, "cell": cell})


def test(setting: Setting, params: Arrays) -> Arrays:
    """Return the losses of one model: loss, null [], rotated, unabsorbed [R], curve [angles]."""
    key = selection.stream(setting, rng.Use.ROTATION)
    knobs = grid.knobs_of_one(setting, "float32")
    single = {name: np.asarray(leaf, np.float32) for name, leaf in params.items()}
    losses = _losses(grid.spec_of(setting), knobs, key, single)
    return {name: np.asarray(values, np.float64) for name, values in losses.items()}


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


def _row(losses: Arrays) -> Row:
    loss = float(losses["loss"])
    return {
        "loss": loss,
        "loss_normalised": loss / float(losses["null"]),
        "rotated_loss": float(losses["rotated"].mean()),
        "rotation_ratio": _ratio(losses["rotated"].mean(), loss),
        "rotation_ratio_least": _ratio(losses["rotated"].min(), loss),
        "rotation_ratio_most": _ratio(losses["rotated"].max(), loss),
        "unabsorbed_loss": float(losses["unabsorbed"].mean()),
        "unabsorbed_ratio": _ratio(losses["unabsorbed"].mean(), loss),
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
    straight = {kind for kind, model in models.MODELS.items() if model.linear_hidden}
    linear = [abs(row["rotation_ratio"] - 1) for row in known if row["kind"] in straight]
    relu = [row["rotation_ratio"] for row in known if row["kind"] not in straight]
    return {
        "cells": len(rows),
        "rotation_gap_linear": max(linear, default=None),
        "rotation_ratio_relu": min(relu, default=None),
        "unabsorbed_least": min((row["unabsorbed_ratio"] for row in known), default=None),
    }


ANALYSIS = Analysis(
    question="Does it matter in which basis the hidden vector is written?",
    needs=(
        needs.ROTATES,
        needs.MOMENTS,
    ),
    runs_on="any",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "rotation_gap_linear": Key("largest |rotation_ratio - 1| without a hidden ReLU"),
            "rotation_ratio_relu": Key("least rotation_ratio with a hidden ReLU"),
            "unabsorbed_least": Key("least unabsorbed_ratio"),
        },
        rows={
            "kind": Key("the kind of the model", "word"),
            "loss": Key("loss of the model on a fresh batch", "loss"),
            "loss_normalised": Key("loss by the null loss"),
            "rotated_loss": Key("loss with both matrices rotated, mean over rotations", "loss"),
            "rotation_ratio": Key("rotated_loss by loss"),
            "rotation_ratio_least": Key("the least over rotations"),
            "rotation_ratio_most": Key("the largest over rotations"),
            "unabsorbed_loss": Key("loss with the hidden vector alone rotated, mean", "loss"),
            "unabsorbed_ratio": Key("unabsorbed_loss by loss"),
        },
        arrays={
            "ratios": Key("ratio of each rotation, taken in", shape="[C, rotations]"),
            "unabsorbed": Key("ratio of each rotation, not taken in", shape="[C, rotations]"),
            "curve": Key("ratio of rotations by an angle in one plane", shape="[C, angles]"),
            "angle": Key("those angles", "degrees", "[angles]"),
            "cell": CELL,
        },
    ),
    compute=rotation,
)
