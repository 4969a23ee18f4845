"""What features cost that are active together, or never: closed forms for tied features.

A set of correlated features is active or zero as a whole; of an anticorrelated set at most
one feature is active (see `data`). Magnitudes are U[0, 1] and independent, importances 1;
losses are E Σ_i (x_i - y'_i)² of y' = ReLU(W Wᵀ x + b) with b = 0.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def digon_loss(joint: ArrayLike) -> Array:
    """Return the cost of two features with opposite unit vectors, from when both are active.

    L = J/3, J the probability that both are: each then misses the smaller of two magnitudes,
    and E min(x, y)² = 1/6. J is p for two features of a correlated set, 0 for two of an
    anticorrelated one, p² for independent features and for features of two correlated sets.

    Shapes: elementwise. Source: integration; Elhage et al. 2022 for the arrangement.
    """
    return jnp.asarray(joint) / 3


def collapsed_loss(p: ArrayLike, size: ArrayLike) -> Array:
    """Return the cost of keeping of a correlated set nothing but the sum of its features.

    L = (k - 1) p/12 for k = size vectors that are all 1/sqrt(k) of one unit vector, with no
    other set along it: the set's first principal component is kept and the k - 1 others are
    lost, each with the variance E(x - y)²/2 = p/12 of a difference.

    Shapes: elementwise. p is the probability of the set. Source: the covariance of the data.
    """
    return (jnp.asarray(size) - 1) * jnp.asarray(p) / 12


def collapse_boundary(size: ArrayLike) -> Array:
    """Return the p above which correlated sets of k features do better collapsed.

    p = (k - 1)/(2k): there digons across sets, p²/6 a feature, cost as much as collapsed
    sets, (k - 1) p/(12 k) a feature. For arrangements of one kind only; in between, some sets
    may collapse and others not. 1/4 for pairs.

    Shapes: elementwise. Source: equating `digon_loss` and `collapsed_loss`.
    """
    size = jnp.asarray(size)
    return (size - 1) / (2 * size)
