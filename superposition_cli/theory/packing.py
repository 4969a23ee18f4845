"""Almost-orthogonal vectors: how close to orthogonal many unit vectors in few dimensions can be.

Exact laws of random directions, and the smoothed coherence that training a packing descends.
N vectors in m dimensions, the rows of W [N, m]; only their directions count. Elementwise
functions work in the dtype they are given: small tails need float64.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import betainc
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from superposition_cli.theory.shapes import Broadcast, Elementwise, Scalar

Vectors = Float[Array, "N m"]
SOFTEST, SHARPEST = 10.0, 2000.0  # sharpness of the first and of the last step
HALVINGS = 60  # of an interval of length 1, beyond the precision of float64


def cosines(W: Vectors) -> Float[Array, "N N"]:
    """Return the cosine between every two rows. No row may be zero."""
    U = W / jnp.linalg.norm(W, axis=1, keepdims=True)
    return jnp.matmul(U, U.T, precision="highest")


def squared_coherence(W: Vectors) -> Scalar:
    """Return the largest squared cosine of two different rows, max_{i≠j} cos²_ij: -> []."""
    return jnp.max(cosines(W) ** 2, where=_pairs(W), initial=0)


def soft_squared_coherence(W: Vectors, sharpness: Real[ArrayLike, ""]) -> Scalar:
    """Return (1/β) ln Σ_{i≠j} exp(β cos²_ij), with sharpness β > 0: [N, m] -> [].

    At least the squared coherence, and at most ln(N (N - 1)) / β above it.
    """
    scaled = sharpness * cosines(W) ** 2
    return jax.nn.logsumexp(scaled, where=_pairs(W)) / sharpness


def sharpness(t: Elementwise, steps: int) -> Broadcast:
    """Return β of step t: from 10 at the first step to 2000 at the last, in equal ratios."""
    share = jnp.asarray(t, float) / max(steps - 1, 1)
    return SOFTEST * (SHARPEST / SOFTEST) ** share


def tail(m: Elementwise, epsilon: Elementwise) -> Broadcast:
    """Return P(|cos| > ε) of two independent random directions in m >= 2 dimensions.

    I_{1-ε²}((m-1)/2, 1/2), the regularised incomplete beta function; at most
    2 exp(-m ε²/2). cos² has mean 1/m. Shapes: elementwise.
    """
    m, epsilon = jnp.asarray(m, float), jnp.asarray(epsilon, float)
    return betainc((m - 1) / 2, 0.5, 1 - epsilon**2)


def median_count(m: Elementwise, epsilon: Elementwise) -> Broadcast:
    """Return N50, the number of random directions whose coherence has the median ε.

    N (N - 1)/2 P(|cos| > ε) = ln 2 with pairs as if independent, so N ≈ sqrt(2 ln 2 / P):
    it grows like (1 - ε²)^(-m/4), exponentially in m. Shapes: elementwise.
    """
    return jnp.sqrt(2 * jnp.log(2.0) / tail(m, epsilon))


def growth(epsilon: Elementwise) -> Broadcast:
    """Return the slope of ln N50 in m for large m, -ln(1 - ε²)/4, about ε²/4."""
    return -jnp.log1p(-(jnp.asarray(epsilon, float) ** 2)) / 4


def median_coherence(count: Elementwise, m: Elementwise) -> Broadcast:
    """Return the median coherence of N >= 3 random directions in m >= 2 dimensions.

    The ε at which N (N - 1)/2 P(|cos| > ε) = ln 2, by bisection. Shapes: elementwise.
    """
    count, m = jnp.asarray(count, float), jnp.asarray(m, float)
    wanted = 2 * jnp.log(2.0) / (count * (count - 1))

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = tail(m, middle) > wanted
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    zero = jnp.zeros_like(wanted * m)
    return jax.lax.fori_loop(0, HALVINGS, halve, (zero, zero + 1))[0]


def enough_dimensions(count: Elementwise, epsilon: Elementwise) -> Broadcast:
    """Return 8 ln N / ε², dimensions that keep distances of N points to within 1 ± ε.

    Source: Johnson and Lindenstrauss 1984. Shapes: elementwise.
    """
    return 8 * jnp.log(jnp.asarray(count, float)) / jnp.asarray(epsilon, float) ** 2


def _pairs(W: Vectors) -> Bool[Array, "N N"]:
    return ~jnp.eye(len(W), dtype=bool)
