"""Exact means of rectified outputs over uniform inputs, the bricks of every exact loss.

One output of the ReLU model sees z = a u + c v + ... + b, a line in the magnitudes u, v, ...
of the active features, each U[0, 1] and independent; t₊ = max(t, 0). The textbook forms
divide differences of powers by a and lose all digits as a -> 0. Here [0, 1] is instead cut
where z changes sign, and on each piece a polynomial is integrated between its values at the
ends: no differences of nearby numbers, no 0/0.

Everything is elementwise over arrays that broadcast, in the dtype given, and works under
`jax.jit`, `jax.vmap` and `jax.grad`. A derivative by a or b is again such a mean, because z
is 0 at the cut, and is computed as one: it costs no digits either. Second derivatives are
exact too, except for the own error at a = 0 = b, where they do not exist. Letters in
brackets, such as [F], are the short names used in formulas of other modules.
"""

import itertools
from collections.abc import Callable
from functools import partial
from math import comb, factorial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from superposition_cli.theory.shapes import Broadcast, Elementwise

UNROLLED = 6  # quadrature points that are written out one by one

_Pair = tuple[Broadcast, Broadcast]
_Part = Float[Array, "*#shape"]  # broadcasts with others


class _Line(NamedTuple):
    """z = a u + b where it is positive: on [low, high], from `start` to `end`."""

    low: Array
    high: Array
    width: Array  # high - low, computed without taking a difference; 0 where z > 0 nowhere
    start: Array  # z at low
    end: Array  # z at high


def rectified_square(a: Elementwise, b: Elementwise) -> Broadcast:
    """Return the mean square of a rectified line [F]: E (a u + b)₊².

    [(a+b)₊³ - b₊³]/(3a), and b₊² for a = 0.

    Shapes: elementwise. Units: those of b, squared. Source: integration over u.
    """
    return _moment(*_same(a, b), 0, 2)


def rectified_product(a: Elementwise, b: Elementwise) -> Broadcast:
    """Return the mean of the input times a rectified line [G]: E u (a u + b)₊.

    [(a+b)₊³/3 - b (a+b)₊²/2 + b₊³/6]/a², and b₊/2 for a = 0.

    Shapes: elementwise. Units: those of b. Source: integration over u.
    """
    return _moment(*_same(a, b), 1, 1)


def weighted_square(a: Elementwise, b: Elementwise) -> Broadcast:
    """Return the mean square of a rectified line, weighted by the input [Q]: E u (a u + b)₊².

    [(a+b)₊⁴/4 - b (a+b)₊³/3 + b₊⁴/12]/a², and b₊²/2 for a = 0.

    Shapes: elementwise. Units: those of b, squared. Source: integration over u.
    """
    return _moment(*_same(a, b), 1, 2)


def own_error(a: Elementwise, b: Elementwise) -> Broadcast:
    """Return the mean squared error of an output on its own feature [A]: E (u - (a u + b)₊)².

    1/3 - 2 G(a, b) + F(a, b); 0 for a perfect output, a = 1 and b = 0, with full relative
    accuracy near it; 1/3 for a silent one.

    Shapes: elementwise. Units: those of u². Source: integration over u.
    """
    return _error(*_same(a, b))


def rectified_square_of_two(a: Elementwise, c: Elementwise, b: Elementwise) -> Broadcast:
    """Return the mean square output with two active features [K2]: E (a u + c v + b)₊².

    [(a+b+c)₊⁴ - (a+b)₊⁴ - (c+b)₊⁴ + b₊⁴]/(12 a c), and the limits of it for a or c = 0.

    Shapes: elementwise. Units: those of b, squared. Source: integration over u and v.
    """
    a, c, b = _same(a, c, b)
    return _mean_along(lambda at: rectified_square(a, at), c, b, (jnp.zeros_like(a), -a), 2)


def own_error_of_two(a: Elementwise, c: Elementwise, b: Elementwise) -> Broadcast:
    """Return the error on a feature while a second is active [A2]: E (u - (a u + c v + b)₊)².

    1/3 - [Q(a, b+c) - Q(a, b)]/c + K2(a, c, b), and A(a, b) for c = 0.

    Shapes: elementwise; u is the output's own feature, with weight a. Units: those of u².
    Source: integration over u and v.
    """
    a, c, b = _same(a, c, b)
    return _mean_along(lambda at: own_error(a, at), c, b, (jnp.zeros_like(a), -a), 2)


def rectified_moment(a: Float[Array, " k *#shape"], b: Elementwise, power: int) -> Broadcast:
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
        return _moment(*_same(a[0], b), 0, power)
    n_nodes = (power + len(a) + 1) // 2  # the spline in b has degree r + k - 1
    kinks = tuple(-total for total in _subset_sums(a[:-1]))
    return _mean_along(lambda at: rectified_moment(a[:-1], at, power), a[-1], b, kinks, n_nodes)


def _same(*values: Elementwise) -> list[Broadcast]:
    """Arrays of one shape."""
    return jnp.broadcast_arrays(*map(jnp.asarray, values))


def _line(a: Broadcast, b: Broadcast) -> _Line:
    start, end = jnp.maximum(b, 0), jnp.maximum(a + b, 0)
    # Below this the square of the slope, which its derivative divides by, would underflow.
    size = jnp.maximum(jnp.abs(a), float(jnp.finfo(jnp.result_type(a, float)).tiny) ** 0.5)
    width = jnp.minimum(1, jnp.maximum(start, end) / size)
    low = jnp.where(a > 0, jnp.minimum(1, jnp.maximum(-b, 0) / size), 0)
    return _Line(low, jnp.where(a > 0, 1, width), width, start, end)


@jax.custom_jvp
def _error(a: Broadcast, b: Broadcast) -> Broadcast:
    """The mean of (u - z₊)²."""
    line = _line(a, b)
    return _error_of(line, *_misses(line, a, b))


@_error.defjvp
def _error_jvp(point: _Pair, tangent: _Pair) -> _Pair:
    """By a -2 E u e, by b -2 E e, over the u with z > 0, where the error is e = u - z."""
    line = _line(*point)
    first, last = _misses(line, *point)
    total = first + last
    by_a = -line.width * (line.low * total + line.width * (total + last) / 3)
    by_b = -line.width * total
    return _error_of(line, first, last), by_a * tangent[0] + by_b * tangent[1]


def _misses(line: _Line, a: Broadcast, b: Broadcast) -> _Pair:
    """The error u - z at the two ends of where z > 0."""
    return line.low - line.start, jnp.where(line.end > 0, (1 - a) - b, line.high)


def _error_of(line: _Line, first: Broadcast, last: Broadcast) -> Broadcast:
    """The mean of e² over the u with z > 0, and of u² over the others."""
    seen = line.width * (first * first + first * last + last * last)
    return (seen + line.low**3 + (1 - line.high**3)) / 3


@partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _moment(a: Broadcast, b: Broadcast, k: int, r: int) -> Broadcast:
    """The mean of uᵏ zʳ over the u with z = a u + b > 0."""
    return _moment_of(_line(a, b), k, r)


@_moment.defjvp
def _moment_jvp(k: int, r: int, point: _Pair, tangent: _Pair) -> _Pair:
    """By a r E uᵏ⁺¹ zʳ⁻¹, by b r E uᵏ zʳ⁻¹."""
    line = _line(*point)
    by_a, by_b = _moment_of(line, k + 1, r - 1), _moment_of(line, k, r - 1)
    return _moment_of(line, k, r), r * (by_a * tangent[0] + by_b * tangent[1])


def _moment_of(line: _Line, k: int, r: int) -> Broadcast:
    """∫ uᵏ zʳ du, both linear from low to high: a sum of products of their values there."""
    total = jnp.zeros_like(line.width)
    for i, j in itertools.product(range(k + 1), range(r + 1)):
        ways = comb(k, i) * comb(r, j) * factorial(i + j) * factorial(k + r - i - j)
        place = line.low ** (k - i) * line.high**i
        total += ways / factorial(k + r + 1) * place * line.start ** (r - j) * line.end**j
    return line.width * total


def _subset_sums(a: Float[Array, " k *shape"]) -> list[Broadcast]:
    sums = [jnp.zeros_like(a[0])]
    for one in a:
        sums += [total + one for total in sums]
    return sums


def _mean_along(
    f: Callable[[Array], Array],
    slope: _Part,
    offset: _Part,
    kinks: tuple[_Part, ...],
    n_nodes: int,
) -> Broadcast:
    """E_v f(offset + slope v) over v in [0, 1], f polynomial between the kinks.

    Exact if n_nodes Gauss-Legendre nodes are exact for the degree. f must be continuous;
    then the motion of the cuts has no effect on the derivative, and it is left out because
    what remains of it after rounding would be divided by the slope. v runs from the end with
    the smaller |value|, where a narrow piece next to a kink at 0 is resolved best. Few points
    are added one by one: a short axis of them would be the innermost of every array, and
    processors work on many models at once only along a long one.
    """
    turned = jnp.abs(offset + slope) < jnp.abs(offset)
    offset = jnp.where(turned, offset + slope, offset)
    slope = jnp.where(turned, -slope, slope)
    flat = slope == 0
    cuts = [jnp.where(flat, 0, (kink - offset) / jnp.where(flat, 1, slope)) for kink in kinks]
    inner = [lax.stop_gradient(jnp.clip(cut, 0, 1)) for cut in _ascending(cuts)]
    edges = [jnp.zeros_like(inner[0]), *inner, jnp.ones_like(inner[0])]
    rule = _unit_nodes(n_nodes)
    points = [
        (left + node * (right - left), weight * (right - left))
        for left, right in itertools.pairwise(edges)
        for node, weight in zip(*rule, strict=True)
    ]
    if len(points) <= UNROLLED:
        parts = (weight * f(offset + slope * v) for v, weight in points)
        return sum(parts, jnp.zeros_like(offset))
    v, weight = (jnp.stack(one) for one in zip(*points, strict=True))
    return jnp.sum(weight * f(offset + slope * v), axis=0)


def _ascending(values: list[_Part]) -> list[_Part]:
    """Sort a few arrays elementwise, by exchanging neighbours."""
    values = list(values)
    for end in range(len(values) - 1, 0, -1):
        for i in range(end):
            one, other = values[i], values[i + 1]
            values[i], values[i + 1] = jnp.minimum(one, other), jnp.maximum(one, other)
    return values


def _unit_nodes(n_nodes: int) -> tuple[list[float], list[float]]:
    """Gauss-Legendre nodes and weights of [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    return ((nodes + 1) / 2).tolist(), (weights / 2).tolist()
