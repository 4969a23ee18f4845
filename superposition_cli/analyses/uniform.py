"""How do equally important features share dimensions as they become sparse?

Uniform geometry: D* and D_i over the feature probability p, the polytopes that represented
features form, and the loss that copies of the best single polytope would reach. Cells are
in order of rising 1/p. Source: Elhage et al. 2022, "The geometry of superposition".
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import CELLS, Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row, number
from superposition_cli.measures import geometry
from superposition_cli.running.results import Results
from superposition_cli.theory.phases import UNIFORM_POLYTOPES, Polytope, benefit_per_dimension
from superposition_cli.toy import metrics

STICKY: dict[str, float | tuple[float, ...]] = {
    "sticky_1": 1.0,
    "sticky_3_4": 3 / 4,
    "sticky_2_3": 2 / 3,
    "sticky_1_2": 1 / 2,
    "sticky_2_5": 2 / 5,
    "sticky_3_8": 3 / 8,
    "sticky_1_3": 1 / 3,
    "sticky_1_4": 1 / 4,
    "sticky_1_2_to_3_8": (1 / 2, 2 / 5, 3 / 8),
}
LABELS = (*geometry.POLYTOPES.values(), geometry.IRREGULAR)
OTHER = "other"
SUPERPOSED = 0.5  # up to this p features share dimensions in tight frames, so Σ D_i = m


class Embedding(NamedTuple):
    """What an analysis needs of one embedding, W [n, m]."""

    measured: Row
    D: np.ndarray  # [n], D_i; NaN for a feature that is not represented
    norms: np.ndarray  # [n]
    shape: tuple[int, int]  # n features, m hidden dimensions


def uniform(results: Results) -> Finding:
    """Return the geometry of each cell's selected model, and of the run as a whole.

    Cells whose models all diverged are left out.
    """
    models = selection.selected(results, "uniform")
    models = sorted(models, key=lambda model: -model.recorded("feature_probability"))
    p = np.array([model.recorded("feature_probability") for model in models])
    cells = [
        {
            **model.axes,
            "inverse_density": float(1 / density),
            "loss_normalised": number(model.recorded("loss_normalised")),
        }
        for model, density in zip(models, p, strict=True)
    ]
    return assemble(p, cells, [embedding(model.params["W"]) for model in models], benefit_curves(p))


def assemble(
    p: np.ndarray, cells: Sequence[Row], embeddings: list[Embedding], benefits: np.ndarray
) -> Finding:
    """Put cells, their embeddings and the theory together, all in order of falling p [P]."""
    n, m = embeddings[0].shape
    theory = predictions(benefits, n, m)
    parts = zip(cells, embeddings, theory, strict=True)
    rows = tuple({**cell, **embedded.measured, **predicted} for cell, embedded, predicted in parts)
    arrays = {
        "p": p,
        "D_star": np.array([row["d_star"] for row in rows], float),
        "D": np.stack([embedded.D for embedded in embeddings]),
        "norms": np.stack([embedded.norms for embedded in embeddings]),
        "benefit": benefits,
    }
    return Finding(overall(p, rows), rows, arrays)


def embedding(W: np.ndarray) -> Embedding:
    """Measure one embedding, W [n, m], in double precision.

    d_star = m / ‖W‖_F², sum_share = Σ D_i / m, sticky_* the share of represented features
    with D_i within .03 of a fraction; see `metrics`. The rest is of `polytopes`.
    """
    W = np.asarray(W, np.float64)
    with jax.enable_x64(True):
        on_device = jnp.asarray(W)
        D = np.asarray(metrics.feature_dimensionality(on_device))
        norms = np.asarray(metrics.feature_norms(on_device))
        d_star = number(metrics.dims_per_feature(on_device))
        sticky = {
            name: number(metrics.sticky_fraction(on_device, fraction))
            for name, fraction in STICKY.items()
        }
    represented = norms > metrics.REPRESENTED_NORM
    measured = {
        "d_star": d_star,
        "represented": int(represented.sum()),
        "sum_share": float(D.sum() / W.shape[1]),
        **sticky,
        **polytopes(W, D),
    }
    return Embedding(measured, np.where(represented, D, np.nan), norms, (len(W), W.shape[1]))


def polytopes(W: np.ndarray, D: np.ndarray) -> Row:
    """Count the components of the feature graph by the polytope they form.

    components_<label> for the labels of `geometry.polytope_label`; a tight frame without a
    name ("7/3") is `other`. digon_share is the share of digons among components with two
    or more features, null without any. W [n, m], D [n] its feature dimensionalities.
    """
    parts = geometry.components(geometry.feature_graph(W))
    labels = [geometry.polytope_label(W, D, part) for part in parts]
    counts = Counter(label if label in LABELS else OTHER for label in labels)
    shared = sum(len(part) > 1 for part in parts)
    return {
        "structure": geometry.describe(W).split(" (")[0],
        "components": len(parts),
        **{f"components_{label.replace(' ', '_')}": counts[label] for label in (*LABELS, OTHER)},
        "digon_share": counts["digon"] / shared if shared else None,
    }


def benefit_curves(p: np.ndarray) -> np.ndarray:
    """Return the benefit per dimension of each of `UNIFORM_POLYTOPES`: [P] -> [polytopes, P].

    See `phases.benefit_per_dimension`; cosines are filled up with zeros, which interfere
    with nothing, so that one program serves all polytopes.
    """
    at = jnp.asarray(p, jnp.float32)
    width = max(len(polytope.cosines) for polytope in UNIFORM_POLYTOPES.values())
    curves = []
    for polytope in UNIFORM_POLYTOPES.values():
        cosines = np.zeros(width, np.float32)
        cosines[: len(polytope.cosines)] = polytope.cosines
        per_dimension = (len(polytope.cosines) + 1) / polytope.dimensions
        curves.append(per_dimension * np.asarray(_saved(cosines, at), np.float64))
    return np.stack(curves)


@jax.jit
def _saved(cosines: jax.Array, p: jax.Array) -> jax.Array:
    """The share of its variance that a vertex saves, [P]: the benefit with k = d."""
    polytope = Polytope(tuple(cosines), len(cosines) + 1)
    return jax.lax.map(lambda one: benefit_per_dimension(polytope, one), p)


def predictions(benefits: np.ndarray, n: int, m: int) -> list[Row]:
    """Return for each p the best polytope, its benefit B and L / L_null = 1 - B m / n.

    For n >> m features in m dimensions all filled with copies of one polytope, benefits
    [polytopes, P]. Never below 0, and null once the copies need more than n features.
    """
    names, best = list(UNIFORM_POLYTOPES), benefits.argmax(axis=0)
    predicted: list[Row] = []
    for i, which in enumerate(best):
        polytope, benefit = UNIFORM_POLYTOPES[names[which]], float(benefits[which, i])
        needed = (len(polytope.cosines) + 1) / polytope.dimensions * m
        loss = max(0.0, 1 - benefit * m / n) if needed <= n else None
        predicted.append(
            {"best_polytope": names[which], "benefit": benefit, "predicted_loss": loss}
        )
    return predicted


def overall(p: np.ndarray, rows: tuple[Row, ...]) -> dict[str, float | int | bool | None]:
    """Return what holds for all cells together; rows in order of falling p."""
    d_star = [row["d_star"] for row in rows]
    known = None not in d_star
    shares = [row["sum_share"] for row, at in zip(rows, p, strict=True) if at <= SUPERPOSED]
    return {
        "cells": len(rows),
        "d_star_monotone": known and bool(np.all(np.diff(np.array(d_star, float)) < 0)),
        "sum_share_least": min(shares, default=None),
        "sum_share_most": max(shares, default=None),
    }


def _words(fraction: float | tuple[float, ...]) -> str:
    several = fraction if isinstance(fraction, tuple) else (fraction,)
    return ", ".join(str(Fraction(one).limit_denominator(8)) for one in several)


ANALYSIS = Analysis(
    question="How do equally important features share dimensions as they become sparse?",
    needs=(
        needs.sweeps_only(needs.PROBABILITY),
        needs.probabilities(1),
        needs.RELU_OUTPUT,
        needs.INDEPENDENT,
        needs.IDENTITY,
        needs.UNIT_INTERVAL,
        needs.unit_importance(),
    ),
    runs_on="any",
    keys=Keys(
        numbers={
            "cells": CELLS,
            "d_star_monotone": Key("whether D* falls from each p to the next smaller", "bool"),
            "sum_share_least": Key(f"least sum_share over p <= {SUPERPOSED:g}"),
            "sum_share_most": Key(f"largest sum_share over p <= {SUPERPOSED:g}"),
        },
        rows={
            "inverse_density": Key("1/p"),
            "loss_normalised": Key("loss by the null loss"),
            "d_star": Key("D* = m / ‖W‖²"),
            "represented": Key("features with ‖W_i‖ > 1/2"),
            "sum_share": Key("Σ D_i / m"),
            **{
                name: Key(f"share of represented features with D_i at {_words(fraction)}")
                for name, fraction in STICKY.items()
            },
            "structure": Key("polytopes that represented features form", "word"),
            "components": Key("components of the feature graph"),
            **{
                f"components_{label.replace(' ', '_')}": Key(f"components that are {label}")
                for label in (*LABELS, OTHER)
            },
            "digon_share": Key("share of digons among components of several features"),
            "best_polytope": Key("polytope of most benefit, in theory", "word"),
            "benefit": Key("its benefit B per dimension"),
            "predicted_loss": Key("loss by null loss of copies of it, 1 - B m / n"),
        },
        arrays={
            "p": Key("feature probability", shape="[C]"),
            "D_star": Key("D*", shape="[C]"),
            "D": Key("D_i; NaN if not represented", shape="[C, n]"),
            "norms": Key("‖W_i‖", shape="[C, n]"),
            "benefit": Key("benefit per dimension of each polytope", shape="[polytopes, C]"),
        },
    ),
    compute=uniform,
)
