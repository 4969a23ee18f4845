"""Closed forms and bounds: what the toy models should reach, without training them.

Everything works in the dtype it is given, and under `jax.jit` and `jax.vmap` except where
a function says otherwise. In the linear model x' = W Wᵀ x + b the
embedding W is [n, m], so M = W Wᵀ is [n, n] and Wᵀ x is the hidden vector.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from superposition_cli.theory.shapes import (
    AnyEmbedding,
    Broadcast,
    Elementwise,
    Embedding,
    PerFeature,
    PerPair,
    Scalar,
    Some,
    SomeEmbedding,
    SomePerFeature,
)

FAINT = 1e-6  # a hidden direction with less of the largest variance is not in use


class LinearLossTerms(NamedTuple):
    """The three parts of the linear model's loss; they add up to it."""

    benefit_deficit: Array  # [], features not reproduced at full strength
    interference: Array  # [], features read out in the place of others
    bias: Array  # [], outputs whose mean is off


def linear_loss(
    W: SomeEmbedding,
    b: SomePerFeature,
    importance: SomePerFeature,
    mean: SomePerFeature,
    covariance: Real[Some, "n n"],
) -> Scalar:
    """Return the exact expected loss of the linear model x' = W Wᵀ x + b.

    L = E Σ_i I_i (x_i - x'_i)² = tr[D R Σ Rᵀ] + rᵀ D r, with R = Id - W Wᵀ, D = diag(I)
    and r = R μ - b: only the first two moments of the data matter.

    Shapes: W [n, m], b, importance, mean [n], covariance [n, n]; returns []. Units: those
    of importance times x². W = 0 with b = μ gives the loss of predicting the mean.
    Source: the linear model of Elhage et al. 2022; formula by expanding the square.
    """
    R = _residual_map(W)
    spread = jnp.sum(_product(R, covariance) * R, axis=1)
    return jnp.sum(importance * (spread + _mean_error(R, b, mean) ** 2))


def linear_loss_terms(
    W: SomeEmbedding,
    b: SomePerFeature,
    importance: SomePerFeature,
    mean: SomePerFeature,
    variance: SomePerFeature,
) -> LinearLossTerms:
    """Split the linear model's loss for independent features into its three causes.

    benefit deficit Σ_i I_i σ_i² (1 - ‖W_i‖²)², interference Σ_i I_i Σ_{j≠i} σ_j² (W_i·W_j)²,
    bias Σ_i I_i r_i², with r as in `linear_loss`, to which they add up.

    Shapes: W [n, m], the rest [n]; each term []. Units: importance times x².
    With one feature the interference is 0. Source: Elhage et al. 2022, after Saxe et al. 2014.
    """
    R = _residual_map(W)
    own = jnp.diagonal(R)
    crossed = _product(R**2, variance) - variance * own**2
    return LinearLossTerms(
        benefit_deficit=jnp.sum(importance * variance * own**2),
        interference=jnp.sum(importance * crossed),
        bias=jnp.sum(importance * _mean_error(R, b, mean) ** 2),
    )


def linear_optimum(
    importance: Real[ArrayLike, " n"], covariance: Real[ArrayLike, "n n"], n_hidden: int
) -> float:
    """Return the least loss any linear model x' = W Wᵀ x + b with n_hidden dimensions has.

    Diagonal covariance: the sum of the n - m smallest I_i σ_i² (Eckart-Young: the m
    largest are kept). Uniform importance I: I times the sum of the n - m smallest
    eigenvalues of the covariance (the principal subspace is kept).

    Shapes: importance [n], covariance [n, n]. 0 where n_hidden >= n. It branches on the
    values, so it is NumPy on the host: not for `jax.jit` or `jax.vmap`. Raises ValueError
    for correlated features of unequal importance, where tied weights need not reach the
    low-rank bound.
    """
    importance, covariance = np.asarray(importance), np.asarray(covariance)
    diagonal = np.diagonal(covariance)
    if not np.any(covariance - np.diag(diagonal)):
        costs = importance * diagonal
    elif not np.ptp(importance):
        costs = importance[0] * np.linalg.eigvalsh(covariance)
    else:
        raise ValueError(
            "the linear optimum has no closed form for correlated features of unequal "
            "importance; make the importance uniform or the features independent"
        )
    n_dropped = max(len(importance) - n_hidden, 0)
    return float(np.sum(np.maximum(np.sort(costs)[:n_dropped], 0)))


def null_loss(importance: SomePerFeature, variance: SomePerFeature) -> Scalar:
    """Return the loss of predicting every feature's mean: Σ_i I_i σ_i².

    Shapes: importance, variance [n]; returns []. The unit of the normalised loss.
    """
    return jnp.sum(importance * variance)


def uniform_variance(p: Elementwise, low: Elementwise = 0.0, high: Elementwise = 1.0) -> Broadcast:
    """Return the variance of a feature that is U[low, high] with probability p, else 0.

    σ² = p (l² + l h + h²)/3 - p² (l + h)²/4; for U[0, 1] it is p/3 - p²/4.

    Shapes: elementwise. 0 for p = 0. Source: moments of the data of Elhage et al. 2022.
    """
    p, low, high = jnp.asarray(p), jnp.asarray(low), jnp.asarray(high)
    return p * (low * low + low * high + high * high) / 3 - (p * (low + high)) ** 2 / 4


def linear_probe_r2(W: AnyEmbedding, covariance: Real[ArrayLike, "n n"]) -> Float[np.ndarray, " n"]:
    """Return the R² of the best linear read-out of every feature from the hidden vector Wᵀx.

    R²_i = (Σ W (WᵀΣW)⁺ WᵀΣ)_ii / Σ_ii with Σ the covariance: for independent features
    σ_i² W_iᵀ (WᵀΣW)⁺ W_i, which adds up to the rank of W; for equal variances the leverage.

    Shapes: W [n, m], covariance [n, n]; returns [n], in [0, 1], NaN for a feature that does
    not vary. Directions with less than `FAINT` of the most varied one's variance count as
    unused. NumPy, in double precision, on the host. Source: least squares.
    """
    W, covariance = np.asarray(W, np.float64), np.asarray(covariance, np.float64)
    crossed = W.T @ covariance
    return r2_of_moments(crossed @ W, crossed, np.diagonal(covariance))


def r2_of_moments(
    hidden: Float[np.ndarray, "m m"],
    crossed: Float[np.ndarray, "m n"],
    variance: Float[np.ndarray, " n"],
) -> Float[np.ndarray, " n"]:
    """Return the R² of least squares from second central moments, one per answer.

    Shapes: hidden [m, m] of the regressors, crossed [m, n] with the answers, variance [n] of
    these; returns [n]. NaN where the variance is 0.
    """
    explained = np.sum(crossed * (np.linalg.pinv(hidden, FAINT, hermitian=True) @ crossed), axis=0)
    varies = variance > 0
    return np.where(varies, explained / np.where(varies, variance, 1), np.nan)


def fourth_cumulant(p: Elementwise, low: Elementwise = 0.0, high: Elementwise = 1.0) -> Broadcast:
    """Return the fourth cumulant of a feature that is U[low, high] with probability p, else 0.

    κ₄ = μ₄ - 4 μ₃ μ - 3 μ₂² + 12 μ₂ μ² - 6 μ⁴ with the moments about 0,
    μ_k = p (h^(k+1) - l^(k+1)) / ((k + 1)(h - l)), for l = h p h^k. For p = 1 and U[0, 1] it is
    -1/120.

    Shapes: elementwise. Units: x⁴. 0 for p = 0.
    """
    p, low, high = jnp.asarray(p), jnp.asarray(low), jnp.asarray(high)
    length = jnp.where(high > low, high - low, 1)

    def moment(k: int) -> Broadcast:
        drawn = p * (high ** (k + 1) - low ** (k + 1)) / ((k + 1) * length)
        return jnp.where(high > low, drawn, p * high**k)

    first, second, third, fourth = map(moment, (1, 2, 3, 4))
    own = fourth - 4 * third * first - 3 * second**2
    return own + 12 * second * first**2 - 6 * first**4


def hidden_kurtosis(W: Embedding, variance: PerFeature, cumulant: PerFeature) -> Float[Array, " m"]:
    """Return the kurtosis of each coordinate of the hidden vector h = Wᵀx: [n, m] -> [m].

    E (h_k - E h_k)⁴ / var(h_k)² = 3 + Σ_i W_ik⁴ κ₄(x_i) / (Σ_i W_ik² σ_i²)² for independent
    features, as cumulants of independent numbers add up; 3 for a Gaussian. Of h before any
    nonlinearity. With equal features it is 3 + κ₄/σ⁴ / PR_k, so a coordinate that is shared
    by many features is nearer to 3.

    Shapes: W [n, m], variance, cumulant [n]. NaN for a coordinate that does not vary.
    """
    spread = jnp.sum(W**2 * variance[:, None], axis=0)
    excess = jnp.sum(W**4 * cumulant[:, None], axis=0)
    varies = spread > 0
    return jnp.where(varies, 3 + excess / jnp.where(varies, spread, 1) ** 2, jnp.nan)


def welch_bound(k: Elementwise, m: Elementwise) -> Broadcast:
    """Return the least possible coherence of k unit vectors in m dimensions.

    max_{i≠j} |u_i·u_j| >= sqrt((k - m) / (m (k - 1))), reached by equiangular tight frames.

    Shapes: elementwise. 0 for k <= m, where the vectors can be orthogonal.
    Source: Welch 1974, "Lower bounds on the maximum cross correlation of signals".
    """
    k, m = jnp.asarray(k), jnp.asarray(m)
    excess = jnp.maximum(k - m, 0)
    return jnp.sqrt(excess / (m * jnp.maximum(k - 1, 1)))


def _product(a: Real[Some, "i j"], b: Real[Some, " j *k"]) -> Float[Array, " i *k"]:
    return jnp.matmul(a, b, precision="highest")


def _residual_map(W: SomeEmbedding) -> PerPair:
    """Id - W Wᵀ, [n, n]: what the model leaves of an input, up to its bias."""
    return jnp.eye(W.shape[0], dtype=W.dtype) - _product(W, W.T)


def _mean_error(R: PerPair, b: SomePerFeature, mean: SomePerFeature) -> PerFeature:
    return _product(R, mean) - b
