"""Which arrangement of features is best: phase boundaries, k-gons and polytopes.

Three limits in which the optimum of the ReLU-output model y' = ReLU(W Wᵀ x + b) is known in
closed form or up to two numbers: two and three features, where vectors are unit or zero
(`phase_boundary` and its neighbours); one active feature at a time in the plane (`kgon_*`);
and many more features than dimensions, where equal polytopes fill orthogonal subspaces
(`benefit_per_dimension`). Active features are U[0, 1]. Losses are E Σ_i I_i (x_i - y'_i)².
"""

from collections.abc import Callable
from enum import IntEnum
from functools import cache
from math import sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Int, Real

from superposition_cli.theory.closed_forms import own_error, rectified_square
from superposition_cli.theory.expansion import interference_law
from superposition_cli.theory.linear import uniform_variance
from superposition_cli.theory.shapes import Broadcast, Elementwise, Scalar


class Fate(IntEnum):
    """What becomes of the last feature."""

    IGNORED = 0
    SUPERPOSED = 1
    DEDICATED = 2


class TwoFeatureLosses(NamedTuple):
    """Losses of two features in one dimension, importances 1 and r."""

    ignore_last: Array
    ignore_other: Array
    digon: Array


class ThreeFeatureLosses(NamedTuple):
    """Losses of three features in two dimensions, importances 1, 1 and r."""

    ignore_last: Array
    ignore_other: Array
    last_in_digon: Array
    others_in_digon: Array
    triangle: Array


class Kgon(NamedTuple):
    """A regular k-gon of features: its radius, the bias of its features and its loss."""

    radius: float
    bias: float
    loss: float


class Polytope(NamedTuple):
    """A vertex-transitive set of unit vectors."""

    cosines: tuple[float, ...]  # of one vertex with each other vertex
    dimensions: int


class PolytopeOptimum(NamedTuple):
    """The best a polytope can do at one feature probability."""

    loss: Array  # per feature
    scale: Array  # ‖W_i‖²
    bias: Array


# --- two and three features ---------------------------------------------------------------

TWO_FEATURE_FATES = (Fate.IGNORED, Fate.DEDICATED, Fate.SUPERPOSED)
THREE_FEATURE_FATES = (
    Fate.IGNORED, Fate.DEDICATED, Fate.SUPERPOSED, Fate.DEDICATED, Fate.SUPERPOSED,
)  # fmt: skip


def two_feature_losses(p: Elementwise, r: Elementwise) -> TwoFeatureLosses:
    """Return the losses of all arrangements of two features in one dimension.

    An ignored feature of importance I costs I (p/3 - p²/4), with bias p/2; an antipodal pair
    (1 + r) p²/6, by inputs with both active; a dedicated feature nothing.

    Shapes: elementwise; p is the probability of both features, r >= 0 the importance of the
    last, 1 that of the other. Source: Wattenberg's notebook to Elhage et al. 2022.
    """
    p, r = jnp.asarray(p), jnp.asarray(r)
    ignored = uniform_variance(p)
    return TwoFeatureLosses(r * ignored, ignored + 0 * r, (1 + r) * p**2 / 6)


def three_feature_losses(p: Elementwise, r: Elementwise) -> ThreeFeatureLosses:
    """Return the losses of all arrangements of three features in two dimensions.

    As for two features, with the remaining one dedicated; others_in_digon is p²/3, with the
    last dedicated; the triangle without biases costs (2 + r) p² (3 + p)/24, never the least.

    Shapes: elementwise; r is the importance of the last feature, 1 that of the other two.
    Source: Wattenberg's notebook to Elhage et al. 2022; the triangle by integration.
    """
    p, r = jnp.asarray(p), jnp.asarray(r)
    two = two_feature_losses(p, r)
    triangle = (2 + r) * p**2 * (3 + p) / 24
    return ThreeFeatureLosses(*two, p**2 / 3 + 0 * r, triangle)


def last_feature_fate(p: Elementwise, r: Elementwise, n_features: int = 2) -> Int[Array, "*shape"]:
    """Return what the best closed-form arrangement does with the last feature, as `Fate`.

    Shapes: elementwise, integer; p and r as in `two_feature_losses`. n_features is 2 (in
    one dimension) or 3 (in two), other values raise ValueError. On r = 1, where the
    arrangements tie, the last feature is the one ignored, and superposed before dedicated.
    Source: Elhage et al. 2022 (the phase diagram).
    """
    if n_features not in (2, 3):
        raise ValueError(f"the closed-form phase diagrams have 2 or 3 features, not {n_features}")
    losses: tuple[Array, ...] = two_feature_losses(p, r)
    fates: tuple[Fate, ...] = TWO_FEATURE_FATES
    if n_features == 3:
        losses, fates = three_feature_losses(p, r), THREE_FEATURE_FATES
    best = jnp.argmin(jnp.stack(losses), axis=0)
    return jnp.asarray([int(fate) for fate in fates])[best]


def phase_boundary(r: Elementwise) -> Broadcast:
    """Return the feature probability below which superposition pays in the closed forms.

    p_c = 4q/(2 + 5q), q = min(r, 1/r): there an antipodal pair costs the same as ignoring
    the less important of its two features. For two features in one dimension it holds for
    all r > 0; for three in two dimensions with r <= 1 it bounds the last feature's
    superposition, while for r > 1 the two others share a digon below `phase_boundary(1)`.

    Shapes: elementwise. 4/7 for r = 1. Source: equating the losses of `two_feature_losses`.
    """
    r = jnp.asarray(r)
    q = jnp.minimum(r, 1 / r)
    return 4 * q / (2 + 5 * q)


def pair_overlap_loss(c: Elementwise) -> Broadcast:
    """Return the cost of two unit vectors at a negative product -c, per importance and p².

    g(c) = c²/3 - c³/6: two features lose (I_i + I_j) p² g(c), without biases, while no third
    is active. 1/6 for an antipodal pair, 1/16 for two vertices of a triangle.

    Shapes: elementwise, c in [0, 1]. Source: E min(x, c y)² for uniform x and y.
    """
    c = jnp.asarray(c)
    return c * c / 3 - c**3 / 6


# --- one active feature at a time, in the plane ------------------------------------------

KGON_SEARCH = ((1.0, -0.5), (0.9, 1.0))  # centre and half-width of radius and bias


def kgon_loss(k: int, radius: Elementwise, bias: Elementwise) -> Broadcast:
    """Return the one-hot loss L(k, k) of k features on a regular k-gon.

    A(l², b) + Σ_{d=1}^{k-1} F(l² cos(2πd/k), b), l the radius, b the bias, A and F as in
    `closed_forms`; importances are 1 and one feature, any with equal chance, is active.

    Shapes: elementwise; k >= 1 is static. Source: Chen et al. 2023.
    """
    scale, bias = jnp.broadcast_arrays(jnp.asarray(radius) ** 2, jnp.asarray(bias))
    cosines = np.cos(2 * np.pi * np.arange(1, k) / k).reshape(-1, *(1,) * scale.ndim)
    others = rectified_square(scale * jnp.asarray(cosines, scale.dtype), bias)
    return own_error(scale, bias) + jnp.sum(others, axis=0)


@cache
def kgon_optimum(k: int) -> Kgon:
    """Return the best regular k-gon for one-hot inputs.

    Radius and bias by a grid search that zooms in, to about 1e-8, in float64 on the host;
    up to four vectors have no positive products, so (1, 0) has loss 0.

    Not for `jax.jit`. Source: Chen et al. 2023.
    """
    if k <= 4:
        return Kgon(1.0, 0.0, 0.0)
    with jax.enable_x64(True):
        centre, reach = jnp.asarray(KGON_SEARCH)
        found = _zoom(lambda radius, bias: kgon_loss(k, radius, bias), centre, reach, rounds=30)
        return Kgon(*(float(value) for value in found))


def kgon_excess(k: int) -> float:
    """Return h_k = 3 k L(k, k): the loss of the best k-gon, in units of one ignored feature.

    Source: Chen et al. 2023.
    """
    return 3 * k * kgon_optimum(k).loss


def kgon_partial_loss(k: int, c: int, n_biased: int = 0) -> float:
    """Return the one-hot loss L(k, c) of the best k-gon and c - k features without a vector.

    (h_k + c - k)/(3c) - n_biased/(4c²): a feature without a vector costs 1/(3c) with bias
    <= 0, and 1/(4c²) less with bias 1/(2c), as n_biased of them have (the '+' of "4+").

    Raises ValueError unless 0 <= n_biased <= c - k. Source: Chen et al. 2023.
    """
    if not 0 <= n_biased <= c - k:
        raise ValueError(f"of {c} features, {k} are on the polygon, so {n_biased} cannot be biased")
    return (kgon_excess(k) + c - k) / (3 * c) - n_biased / (4 * c * c)


def learning_coefficient(c: int) -> float:
    """Return the local learning coefficient of the best c-gon of c >= 5 features in the plane.

    λ = (3c - 1)/2: 3c parameters less the rotation, each counting 1/2 where the loss is
    quadratic. Not for the 4-gon, whose loss is not analytic. Source: Chen et al. 2023.
    """
    return (3 * c - 1) / 2


# --- many more features than dimensions ----------------------------------------------------

_C5 = (sqrt(5) - 1) / 4  # cos 72°
_C45 = sqrt(2) / 3  # of the antiprism with square sides: horizontal part times cos 45°
UNIFORM_POLYTOPES: dict[str, Polytope] = {
    "dedicated": Polytope((), 1),
    "tetrahedron": Polytope((-1 / 3,) * 3, 3),
    "triangle": Polytope((-1 / 2,) * 2, 2),
    "digon": Polytope((-1.0,), 1),
    "pentagon": Polytope((_C5,) * 2 + (-_C5 - 1 / 2,) * 2, 2),
    "square antiprism": Polytope(
        (1 / 3,) * 2 + (-1 / 3,) + (_C45 - 1 / 3,) * 2 + (-_C45 - 1 / 3,) * 2, 3
    ),
    "icosahedron": Polytope((1 / sqrt(5),) * 5 + (-1 / sqrt(5),) * 5 + (-1.0,), 3),
}
POLYTOPE_SEARCH = ((1.2, -0.3), (1.0, 0.9))  # centre and half-width of scale and bias


def polytope_optimum(
    polytope: Polytope, p: Real[ArrayLike, ""], grid: int = 512
) -> PolytopeOptimum:
    """Return the least loss per feature of one polytope, over its scale and bias.

    L(s, b) = (1-p) E(s T + b)₊² + p E A(s, s T + b), s = ‖W_i‖², with T = Σ_j cos_j x_j what
    the other vertices add: its law is computed on a grid (`expansion.interference_law`), no
    sampling. The relative error of the loss is below 1e-3 at the default grid. Scale and
    bias come from a grid search that zooms in, to about 1e-3 in float32.

    Shapes: p [], each result []; polytope is static, for instance one of
    `UNIFORM_POLYTOPES`. Importance 1.
    """
    p = jnp.asarray(p)
    cosines = jnp.append(jnp.asarray(polytope.cosines, p.dtype), 0)  # 0 is itself, no neighbour
    law = interference_law(cosines, jnp.full_like(cosines, p), 0, grid)
    at, weight = law.position[:, None, None], law.probability[0][:, None, None]

    def loss(scale: Float[Array, "i 1"], bias: Float[Array, "1 j"]) -> Float[Array, "i j"]:
        z = scale * at + bias
        silent = (1 - p) * jnp.maximum(z, 0) ** 2
        return jnp.sum(weight * (silent + p * own_error(scale, z)), axis=0)

    centre, reach = jnp.asarray(POLYTOPE_SEARCH, p.dtype)
    found = _zoom(loss, centre, reach, rounds=12)
    return PolytopeOptimum(found[2], found[0], found[1])


def benefit_per_dimension(polytope: Polytope, p: Real[ArrayLike, ""]) -> Scalar:
    """Return what a dimension buys when it is filled with copies of one polytope.

    B = k (σ² - L)/(d σ²), with k vertices in d dimensions, σ² = p/3 - p²/4 the variance of a
    feature and L from `polytope_optimum`; n >> m features in m dimensions then reach
    n σ² (1 - B m/n), so the polytope with the largest B wins. 1 for a dedicated dimension.

    Shapes: p [], returns []. `jax.jit` with a static polytope, and `jax.vmap` over p.
    Source: derived from the tegum products of Elhage et al. 2022.
    """
    p = jnp.asarray(p)
    saved = 1 - polytope_optimum(polytope, p).loss / uniform_variance(p)
    return (len(polytope.cosines) + 1) / polytope.dimensions * saved


def _zoom(
    loss: Callable[[Array, Array], Array],
    centre: Float[Array, "2"],
    reach: Float[Array, "2"],
    rounds: int,
    points: int = 21,
) -> tuple[Scalar, Scalar, Scalar]:
    """Minimise over two numbers: a grid about the best point, halved in every round.

    Slower than Newton, but indifferent to kinks; returns where, and the least value.
    """
    points = 21
    ticks = jnp.linspace(-1, 1, points, dtype=centre.dtype)

    def halve(i: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        middle, _ = state
        x, y = middle[:, None] + (reach * 0.5 ** i.astype(centre.dtype))[:, None] * ticks
        values = loss(x[:, None], y[None, :])
        row, column = jnp.divmod(jnp.argmin(values), points)
        return jnp.stack([x[row], y[column]]), values[row, column]

    best, least = jax.lax.fori_loop(0, rounds, halve, (centre, jnp.zeros((), centre.dtype)))
    return best[0], best[1], least
