"""Exact means of rectified outputs over uniform inputs, the bricks of every exact loss.

One output of the ReLU model sees z = a u + c v + ... + b, a line in the magnitudes u, v, ...
of the active features, each U[0, 1] and independent; t₊ = max(t, 0). The textbook forms
divide differences of powers by a and lose all digits as a -> 0. Here [0, 1] is instead cut
where z changes sign, and on each piece a polynomial is integrated between its values at the
ends: no differences of nearby numbers, no 0/0, and the same holds for the derivatives.

Everything is elementwise over arrays that broadcast, in the dtype given, and works under
`jax.jit`, `jax.vmap` and `jax.grad`. Second derivatives are exact too, except for the
own error at a = 0 = b, where they do not exist. Letters in brackets, such as [F], are the
short names used in formulas of other modules.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike


class _Line(NamedTuple):
    """z = a u + b over u in [0, 1], seen through the rectifier."""

    start: Array  # b, the value at u = 0
    end: Array  # a + b, the value at u = 1
    full: Array  # bool: z > 0 throughout
    rising: Array  # bool: z crosses 0 upwards
    falling: Array  # bool: z crosses 0 downwards
    kink: Array  # where it crosses, in [0, 1]; 0 where it does not
    share: Array  # the share of u with z > 0 where it crosses upwards; else 0

    def choose(self, full: Array, rising: Array, falling: Array, never: ArrayLike = 0) -> Array:
        """Pick the value that belongs to the line's case."""
        crossing = jnp.where(self.rising, rising, jnp.where(self.falling, falling, never))
        return jnp.where(self.full, full, crossing)


def rectified_square(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the mean square of a rectified line [F]: E (a u + b)₊².

    [(a+b)₊³ - b₊³]/(3a), and b₊² for a = 0.

    Shapes: elementwise. Units: those of b, squared. Source: integration over u.
    """
    line = _line(a, b)
    s, t = line.start, line.end
    return line.choose((s * s + s * t + t * t) / 3, t * t * line.share / 3, s * s * line.kink / 3)


def rectified_product(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the mean of the input times a rectified line [G]: E u (a u + b)₊.

    [(a+b)₊³/3 - b (a+b)₊²/2 + b₊³/6]/a², and b₊/2 for a = 0.

    Shapes: elementwise. Units: those of b. Source: integration over u.
    """
    line = _line(a, b)
    s, t, share = line.start, line.end, line.share
    return line.choose((s + 2 * t) / 6, t * share * (3 - share) / 6, s * line.kink**2 / 6)


def weighted_square(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the mean square of a rectified line, weighted by the input [Q]: E u (a u + b)₊².

    [(a+b)₊⁴/4 - b (a+b)₊³/3 + b₊⁴/12]/a², and b₊²/2 for a = 0.

    Shapes: elementwise. Units: those of b, squared. Source: integration over u.
    """
    line = _line(a, b)
    s, t, share = line.start, line.end, line.share
    rising = t * t * share * (4 - share) / 12
    return line.choose((s * s + 2 * s * t + 3 * t * t) / 12, rising, (s * line.kink) ** 2 / 12)


def own_error(a: ArrayLike, b: ArrayLike) -> Array:
    """Return the mean squared error of an output on its own feature [A]: E (u - (a u + b)₊)².

    1/3 - 2 G(a, b) + F(a, b); 0 for a perfect output, a = 1 and b = 0, with full relative
    accuracy near it; 1/3 for a silent one.

    Shapes: elementwise. Units: those of u². Source: integration over u.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    line = _line(a, b)
    s, miss, kink = line.start, (1 - a) - b, line.kink  # what is missing at u = 1
    full = (s * s - s * miss + miss * miss) / 3
    rising = (miss * miss + line.end * kink * (kink + miss)) / 3
    falling = (1 + s * kink * (s - kink)) / 3
    return line.choose(full, rising, falling, 1 / 3)


def rectified_square_of_two(a: ArrayLike, c: ArrayLike, b: ArrayLike) -> Array:
    """Return the mean square output with two active features [K2]: E (a u + c v + b)₊².

    [(a+b+c)₊⁴ - (a+b)₊⁴ - (c+b)₊⁴ + b₊⁴]/(12 a c), and the limits of it for a or c = 0.

    Shapes: elementwise. Units: those of b, squared. Source: integration over u and v.
    """
    a, c, b = jnp.asarray(a), jnp.asarray(c), jnp.asarray(b)
    return _mean_along(lambda at: rectified_square(a, at), c, b, (jnp.zeros_like(a), -a), 2)


def own_error_of_two(a: ArrayLike, c: ArrayLike, b: ArrayLike) -> Array:
    """Return the error on a feature while a second is active [A2]: E (u - (a u + c v + b)₊)².

    1/3 - [Q(a, b+c) - Q(a, b)]/c + K2(a, c, b), and A(a, b) for c = 0.

    Shapes: elementwise; u is the output's own feature, with weight a. Units: those of u².
    Source: integration over u and v.
    """
    a, c, b = jnp.asarray(a), jnp.asarray(c), jnp.asarray(b)
    return _mean_along(lambda at: own_error(a, at), c, b, (jnp.zeros_like(a), -a), 2)


def rectified_moment(a: Array, b: ArrayLike, power: int) -> Array:
    """Return a moment of a rectified output with k active features [Φ_r]: E (b + Σ_j a_j u_j)₊ʳ.

    r!/((r+k)! Π a_j) Σ_{S ⊂ [k]} (-1)^(k-|S|) (b + Σ_{j in S} a_j)₊^(r+k), evaluated by
    piecewise exact quadrature, one feature after the other, so that a_j = 0 is no exception.
    With r = 2 half its derivative by a_j is E u_j (b + a·u)₊.

    Shapes: a [k, ...], b [...], returns [...]; power >= 1 and k are static. Work grows like
    2^(k²/2): 90 points for k = 3, 2430 for k = 4 (r = 2). Source: integration of each u_j.
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    if len(a) == 0:
        return jnp.maximum(b, 0) ** power
    if len(a) == 1:
        return _moment_of_line(_line(a[0], b), power)
    n_nodes = (power + len(a) + 1) // 2  # the spline in b has degree r + k - 1
    kinks = tuple(-total for total in _subset_sums(a[:-1]))
    return _mean_along(lambda at: rectified_moment(a[:-1], at, power), a[-1], b, kinks, n_nodes)


def _line(a: ArrayLike, b: ArrayLike) -> _Line:
    a, b = jnp.broadcast_arrays(a, b)
    end = a + b
    # Below this the square of the slope, which its derivative divides by, would underflow;
    # a line so flat that changes sign is zero for every purpose.
    steep = jnp.abs(a) > jnp.finfo(jnp.result_type(end, jnp.float32)).tiny ** 0.5
    rising, falling = steep & (b <= 0) & (end > 0), steep & (b > 0) & (end <= 0)
    crossing = rising | falling
    slope = jnp.where(crossing, a, 1)
    kink = jnp.where(crossing, -b / slope, 0)
    share = jnp.where(rising, end / slope, 0)
    return _Line(b, end, (b > 0) & (end > 0), rising, falling, kink, share)


def _moment_of_line(line: _Line, power: int) -> Array:
    s, t = line.start, line.end
    full = sum((s**q * t ** (power - q) for q in range(power + 1)), jnp.zeros_like(s))
    return line.choose(full, t**power * line.share, s**power * line.kink) / (power + 1)


def _subset_sums(a: Array) -> list[Array]:
    sums = [jnp.zeros_like(a[0])]
    for one in a:
        sums += [total + one for total in sums]
    return sums


def _mean_along(
    f: Callable[[Array], Array], slope: Array, offset: Array, kinks: tuple[Array, ...], n_nodes: int
) -> Array:
    """E_v f(offset + slope v) over v in [0, 1], f polynomial between the kinks.

    Exact if n_nodes Gauss-Legendre nodes are exact for the degree. f must be continuous;
    then the motion of the cuts has no effect on the derivative, and it is left out because
    what remains of it after rounding would be divided by the slope. v runs from the end with
    the smaller |value|, where a narrow piece next to a kink at 0 is resolved best.
    """
    turned = jnp.abs(offset + slope) < jnp.abs(offset)
    offset = jnp.where(turned, offset + slope, offset)
    slope = jnp.where(turned, -slope, slope)
    flat = slope == 0
    shape = jnp.broadcast_shapes(slope.shape, offset.shape, kinks[0].shape)
    cuts = [jnp.where(flat, 0, (kink - offset) / jnp.where(flat, 1, slope)) for kink in kinks]
    inner = jnp.sort(jnp.stack([jnp.broadcast_to(cut, shape) for cut in cuts]), axis=0)
    ends = jnp.zeros((1, *shape), inner.dtype)
    edges = lax.stop_gradient(jnp.concatenate([ends, jnp.clip(inner, 0, 1), ends + 1]))
    nodes, weights = (
        jnp.asarray(w, edges.dtype).reshape(-1, 1, *(1,) * len(shape)) for w in _unit_nodes(n_nodes)
    )
    width = edges[1:] - edges[:-1]
    v = edges[:-1] + nodes * width
    return jnp.sum(weights * width * f(offset + slope * v), axis=(0, 1))


def _unit_nodes(n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights of [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    return (nodes + 1) / 2, weights / 2
