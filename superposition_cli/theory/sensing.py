"""Compressed sensing: how many measurements recover a sparse vector, in theory.

An l1 decoder recovers x with k of n entries non-zero from m random measurements where m is
above ψ(k/n) n, the statistical dimension of its descent cone, and fails below.
Source: Donoho and Tanner 2009; Amelunxen, Lotz, McCoy and Tropp 2014, "Living on the edge".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.stats import norm
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from superposition_cli.theory.shapes import Broadcast, Elementwise, Key

HALVINGS = 60  # of an interval, to beyond the precision of float32
WIDEST = 40.0  # thresholds are within this of 0


def statistical_dimension(share: Elementwise, nonnegative: bool = False) -> Broadcast:
    """Return ψ(s), measurements needed per entry where a share s of the entries is not zero.

    min over t of s (1 + t²) + (1 - s) c [(1 + t²) Q(t) - t φ(t)], with φ and Q the density
    and upper tail of a standard normal, c = 2 for min ‖x‖₁, and c = 1 for the same with
    x >= 0. The minimum is where s t = (1 - s) c [φ(t) - t Q(t)], found by bisection.

    Shapes: elementwise, 0 < s <= 1.
    """
    s = jnp.asarray(share, float)
    sides = 1 if nonnegative else 2

    def slope(t: Broadcast) -> Broadcast:
        return s * t - (1 - s) * sides * (norm.pdf(t) - t * norm.sf(t))

    low = jnp.full_like(s, -WIDEST if nonnegative else 0)
    t = _bisect(lambda at: slope(at) < 0, low, jnp.full_like(s, WIDEST))
    beyond = (1 + t**2) * norm.sf(t) - t * norm.pdf(t)
    return s * (1 + t**2) + (1 - s) * sides * beyond


def weak_threshold(ratio: Elementwise, nonnegative: bool = False) -> Broadcast:
    """Return ρ(δ), the non-zero entries per measurement that m = δ n measurements recover.

    ρ = s/δ with ψ(s) = δ, by bisection. Shapes: elementwise, 0 < δ < 1.
    """
    delta = jnp.asarray(ratio, float)
    ends = (jnp.full_like(delta, 1e-12), jnp.ones_like(delta))
    share = _bisect(lambda s: statistical_dimension(s, nonnegative) < delta, *ends)
    return share / delta


def _bisect(below: Callable[[Array], Array], low: Broadcast, high: Broadcast) -> Broadcast:
    """The point of [low, high] up to which `below` holds."""

    def halve(_: Array, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = (ends[0] + ends[1]) / 2
        left = below(middle)
        return jnp.where(left, middle, ends[0]), jnp.where(left, ends[1], middle)

    return jax.lax.fori_loop(0, HALVINGS, halve, (low, high))[0]


def sparse_inputs(
    key: Key, count: int, n: int, k: Int[ArrayLike, ""]
) -> Float[Array, "{count} {n}"]:
    """Draw inputs with exactly k active features in U[0, 1]; the key is consumed."""

    def one(key: Key) -> Float[Array, " n"]:
        of_order, of_values = (jax.random.fold_in(key, part) for part in range(2))
        order = jax.random.permutation(of_order, n)
        return jnp.where(order < k, jax.random.uniform(of_values, (n,)), 0)

    return jax.vmap(lambda i: one(jax.random.fold_in(key, i)))(jnp.arange(count))
