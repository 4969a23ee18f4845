"""What features cost that are active together, or never: closed forms for tied features.

A set of correlated features is active or zero as a whole; of an anticorrelated set at most
one feature is active (see `data`). Magnitudes are U[0, 1] and independent, importances 1;
losses are E Σ_i (x_i - y'_i)² of y' = ReLU(W Wᵀ x + b) with b = 0.
"""

from math import comb, factorial

import jax.numpy as jnp
import numpy as np

from superposition_cli.theory.shapes import Broadcast, Elementwise


def digon_loss(joint: Elementwise) -> Broadcast:
    """Return the cost of two features with opposite unit vectors, from when both are active.

    L = J/3, J the probability that both are: each then misses the smaller of two magnitudes,
    and E min(x, y)² = 1/6. J is p for two features of a correlated set, 0 for two of an
    anticorrelated one, p² for independent features and for features of two correlated sets.

    Shapes: elementwise. Source: integration; Elhage et al. 2022 for the arrangement.
    """
    return jnp.asarray(joint) / 3


def collapsed_loss(p: Elementwise, size: Elementwise) -> Broadcast:
    """Return the cost of keeping of a correlated set nothing but the sum of its features.

    L = (k - 1) p/12 for k = size vectors that are all 1/sqrt(k) of one unit vector, with no
    other set along it: the set's first principal component is kept and the k - 1 others are
    lost, each with the variance E(x - y)²/2 = p/12 of a difference.

    Shapes: elementwise. p is the probability of the set. Source: the covariance of the data.
    """
    return (jnp.asarray(size) - 1) * jnp.asarray(p) / 12


def opposite_loss(p: Elementwise, size: int) -> Broadcast:
    """Return the cost of two collapsed sets of k = size features on opposite directions.

    L = (k - 1) p/6 + 2k p² E min(s, t)², s and t the means of k numbers in U[0, 1]: while both
    sets are active, each feature of one misses the smaller mean as well. E min(s, t)² is 1/6,
    7/40 and 461/2520 for k = 1, 2 and 3.

    Shapes: elementwise in p, the probability of a set; size is static, up to about 10 for
    float64. Source: integration.
    """
    p = jnp.asarray(p)
    return 2 * collapsed_loss(p, size) + 2 * size * _smaller_mean_squared(size) * p**2


def _smaller_mean_squared(k: int) -> float:
    """E min(s, t)² = ∫ 2u P(s > u)² du for the means s, t of k uniform numbers.

    The law of k s is a polynomial of degree k between whole numbers (Irwin and Hall), so that
    k + 1 Gauss-Legendre nodes on each piece are exact.
    """
    nodes, weights = np.polynomial.legendre.leggauss(k + 1)
    x = np.arange(k)[:, None] + (nodes + 1) / 2
    terms = [(-1) ** i * comb(k, i) * np.maximum(x - i, 0) ** k for i in range(k)]
    above = 1 - np.sum(terms, axis=0) / factorial(k)
    return float(np.sum(weights * x * above**2)) / k**2


def collapse_boundary(size: Elementwise) -> Broadcast:
    """Return the p above which correlated sets of k features do better collapsed.

    p = (k - 1)/(2k): there digons across sets, p²/6 a feature, cost as much as collapsed
    sets, (k - 1) p/(12 k) a feature. For arrangements of one kind only; in between, some sets
    may collapse and others not. 1/4 for pairs.

    Shapes: elementwise. Source: equating `digon_loss` and `collapsed_loss`.
    """
    size = jnp.asarray(size)
    return (size - 1) / (2 * size)
