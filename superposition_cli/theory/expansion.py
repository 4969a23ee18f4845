"""The exact loss of the ReLU-output model, by the number of active features.

For y' = ReLU(W Wᵀ x + b) and independent features, x_i = U[0, 1] with probability p_i, else
0, the loss L = E Σ_i I_i (x_i - y'_i)² is a sum over the sets of active features. None, one
and two active features have closed forms; the rest is an integral over the law of the
interference, which costs more and is rarely needed when n p << 1.

Pure functions of one model, W [n, m], b, importance, p [n], in the dtype given; `jax.jit`,
`jax.vmap` and `jax.grad` apply. Losses are in units of importance times x². The linear
model's terms are `linear.linear_loss_terms`.
Source: Elhage et al. 2022 (the expansion); the integrals are in `closed_forms`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Inexact

from superposition_cli.theory.closed_forms import (
    own_error,
    own_error_of_two,
    rectified_square,
    rectified_square_of_two,
)
from superposition_cli.theory.shapes import (
    Broadcast,
    Embedding,
    PerFeature,
    PerPair,
    Scalar,
)

GRID = 1024  # bins for the law of the interference


class LossTerms(NamedTuple):
    """The loss of a ReLU-output model by cause; the terms add up to it, and none is negative."""

    silence: Array  # [], no feature active: outputs that a positive bias keeps on
    benefit_deficit: Array  # [], one active: its own output is off
    interference: Array  # [], one active: the other outputs respond
    pairs: Array  # [], two active
    remainder: Array  # [], three or more active


class InterferenceLaw(NamedTuple):
    """The law of a weighted sum of sparse features, on a grid, by how many are active."""

    position: Array  # [G], values of the sum
    probability: Array  # [c+1, G], jointly with 0, 1, ..., c-1, and c or more active


def silent_loss(b: PerFeature, importance: PerFeature) -> Scalar:
    """Return the loss with no feature active: L0 = Σ_i I_i (b_i)₊².

    Shapes: b, importance [n]; returns [].
    """
    return jnp.sum(importance * jnp.maximum(b, 0) ** 2)


def single_deficits(W: Embedding, b: PerFeature, importance: PerFeature) -> PerFeature:
    """Return the loss on each feature's own output while it alone is active: -> [n].

    I_j A(M_jj, b_j), with M = W Wᵀ and A `closed_forms.own_error`.

    Shapes: W [n, m], b, importance [n].
    """
    return importance * own_error(jnp.sum(W**2, axis=1), b)


def single_interference(W: Embedding, b: PerFeature, importance: PerFeature) -> PerFeature:
    """Return the loss on all other outputs while one feature alone is active: -> [n].

    Σ_{i≠j} I_i F(M_ij, b_i), with M = W Wᵀ and F `closed_forms.rectified_square`; 0 where
    no bias is positive and no other feature has a positive product with feature j.

    Shapes: W [n, m], b, importance [n].
    """
    M = _gram(W)
    response = importance[:, None] * rectified_square(M, b[:, None])
    return jnp.sum(jnp.where(_diagonal(len(b)), 0, response), axis=0)


def one_hot_loss(W: Embedding, b: PerFeature, importance: PerFeature) -> Scalar:
    """Return the loss when exactly one feature, any with equal chance, is active: -> [].

    (1/n) Σ_j S_j, S_j = I_j A(M_jj, b_j) + Σ_{i≠j} I_i F(M_ij, b_i). To first order in p the
    loss of sparse independent features is n p times this, for biases b <= 0.

    Shapes: W [n, m], b, importance [n]. Source: Chen et al. 2023 (its population loss).
    """
    singles = single_deficits(W, b, importance) + single_interference(W, b, importance)
    return jnp.mean(singles)


def pair_losses(W: Embedding, b: PerFeature, importance: PerFeature) -> Float[Array, " n*(n-1)//2"]:
    """Return the loss while two features alone are active, for every pair: -> [n(n-1)/2].

    S_jk = I_j A2(M_jj, M_jk, b_j) + I_k A2(M_kk, M_jk, b_k) + Σ_{i≠j,k} I_i K2(M_ij, M_ik, b_i),
    in the order of `numpy.triu_indices(n, 1)`; A2 and K2 are `own_error_of_two` and
    `rectified_square_of_two` of `closed_forms`. Time and memory grow like n³.

    Shapes: W [n, m], b, importance [n].
    """
    M = _gram(W)
    j, k = np.triu_indices(len(b), 1)
    rest = np.nonzero(~_in_pair(len(b)))[1].reshape(len(j), max(len(b) - 2, 0))
    others = rectified_square_of_two(M[j[:, None], rest], M[k[:, None], rest], b[rest])
    own = importance[j] * own_error_of_two(M[j, j], M[j, k], b[j])
    partner = importance[k] * own_error_of_two(M[k, k], M[j, k], b[k])
    return own + partner + jnp.sum(importance[rest] * others, axis=1)


def expansion(
    W: Embedding, b: PerFeature, importance: PerFeature, p: PerFeature, order: int
) -> Scalar:
    """Return the part of the loss that comes from at most `order` active features: -> [].

    P(none) L0 + Σ_j P(only j) S_j [+ Σ_{j<k} P(only j and k) S_jk]. Every term left out is
    positive: the loss is between this and this plus `expansion_bound`.

    Shapes: W [n, m], b, importance, p [n]; order is 1 or 2 and static, other values raise
    ValueError. Exact for n <= order; meant for n p << 1.
    """
    if order not in (1, 2):
        raise ValueError(f"the expansion has order 1 or 2, not {order}")
    silence, benefit_deficit, interference, pairs = _first_terms(W, b, importance, p, order)
    return silence + benefit_deficit + interference + pairs


def expansion_bound(
    W: Embedding, b: PerFeature, importance: PerFeature, p: PerFeature, order: int
) -> Scalar:
    """Return an upper bound of the loss that `expansion` leaves out: -> [].

    With N the number of active features and c = order + 1,
    Σ_i I_i E[(x_i² + u_i²) 1(N >= c)], u_i = (b_i)₊ + (M_ii - 1)₊ x_i + Σ_{j≠i} (M_ij)₊ x_j,
    because the error x_i - y'_i lies between -u_i and x_i. Exact moments, no sampling; it
    shrinks like P(N >= c), see `activity_tail`.

    Shapes: W [n, m], b, importance, p [n]; order is static. Time and memory grow like n³.
    """
    n, M = len(b), _gram(W)
    zeroth = activity_tail(p, order + 1)
    first, second = _tail_moments(p, order + 1)
    C = jnp.maximum(jnp.where(_diagonal(n), M - 1, M), 0)
    bias = jnp.maximum(b, 0)
    squares = jnp.sum(jnp.matmul(C, second, precision="highest") * C, axis=1)
    crossed = 2 * bias * jnp.matmul(C, first, precision="highest")
    overshoot = bias**2 * zeroth + crossed + squares
    return jnp.sum(importance * (jnp.diagonal(second) + overshoot))


def activity_tail(p: PerFeature, least: int) -> Scalar:
    """Return the probability that at least `least` of the features are active: [n] -> [].

    A Poisson-binomial tail, by adding one feature after the other; small tails keep their
    relative accuracy. `least` is static; 1 for least <= 0.
    """
    if least <= 0:
        return jnp.ones((), p.dtype)
    start = jnp.zeros(least + 1, p.dtype).at[0].set(1)
    return lax.scan(lambda q, one: (_with_feature(q, one, one), None), start, p)[0][-1]


def loss_decomposition(
    W: Embedding, b: PerFeature, importance: PerFeature, p: PerFeature, grid: int = GRID
) -> LossTerms:
    """Split the loss by the number of active features, one active by cause: they add up to it.

    All but the remainder are closed forms; the remainder has a relative error of order
    (range of the interference / grid)², see `interference_law`.

    Shapes: W [n, m], b, importance, p [n]; each term []. Time grows like n² grid log(grid),
    memory like n³. Source: Elhage et al. 2022 for the sum by number of active features.
    """
    return LossTerms(
        *_first_terms(W, b, importance, p, 2), _beyond(W, b, importance, p, least=3, grid=grid)
    )


def exact_loss(
    W: Embedding, b: PerFeature, importance: PerFeature, p: PerFeature, grid: int = GRID
) -> Scalar:
    """Return the expected loss over all inputs, without sampling, for any n: -> [].

    The sum of `loss_decomposition`. Shapes: W [n, m], b, importance, p [n].
    """
    return jnp.sum(jnp.stack(loss_decomposition(W, b, importance, p, grid)))


def feature_losses(W: Embedding, b: PerFeature, p: PerFeature, grid: int = GRID) -> PerFeature:
    """Return the expected squared error of every output, E (x_i - y'_i)²: -> [n].

    The loss is linear in the importance, so this is its gradient by it:
    Σ_i I_i `feature_losses`_i is `exact_loss`. Shapes: W [n, m], b, p [n].
    """
    return jax.grad(exact_loss, argnums=2)(W, b, jnp.ones_like(b), p, grid)


def interference_law(
    weight: Float[Array, " k"], p: Float[Array, " k"], count: int, grid: int = GRID
) -> InterferenceLaw:
    """Return the law of Σ_j w_j x_j, jointly with how many features are active.

    Each w_j x_j is 0 with probability 1 - p_j, else uniform between 0 and w_j; it is put on
    the grid by linear interpolation, which keeps its mean, and the sum is a convolution,
    done by FFT. A mean of a function f under the law is off by about f''/2 times
    E N h²/6, N the number of active features, h the spacing, (range of the sum)/grid.

    Shapes: weight, p [k]; count c >= 0 and grid G are static; see `InterferenceLaw`.
    """
    low, high = (jnp.sum(jnp.clip(lax.stop_gradient(weight), *ends)) for ends in _HALVES)
    spacing = jnp.maximum(high - low, jnp.finfo(weight.dtype).tiny ** 0.5) / (grid - 4)
    first = jnp.floor(low / spacing) - 1
    place = jnp.mod(jnp.arange(grid, dtype=weight.dtype) - first, grid) + first
    waves = jnp.fft.rfft(_uniform_on_grid((weight / spacing)[:, None], place))
    start = jnp.zeros((count + 1, waves.shape[1]), waves.dtype).at[0].set(1)

    def add(q: Array, feature: tuple[Array, Array]) -> tuple[Array, None]:
        p_j, wave = feature
        return _with_feature(q, p_j, p_j * wave), None

    probability = jnp.fft.irfft(lax.scan(add, start, (p, waves))[0], grid)
    return InterferenceLaw(place * spacing, probability)


_HALVES = ((None, 0.0), (0.0, None))  # bounds that keep the negative and the positive part


def _first_terms(
    W: Embedding, b: PerFeature, importance: PerFeature, p: PerFeature, order: int
) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    none, one = jnp.prod(1 - p), p * _others_inactive(p, _diagonal(len(p)))
    pairs = jnp.zeros((), W.dtype)
    if order == 2:
        j, k = np.triu_indices(len(p), 1)
        both = p[j] * p[k] * _others_inactive(p, _in_pair(len(p)))
        pairs = jnp.sum(both * pair_losses(W, b, importance))
    return (
        none * silent_loss(b, importance),
        jnp.sum(one * single_deficits(W, b, importance)),
        jnp.sum(one * single_interference(W, b, importance)),
        pairs,
    )


def _beyond(
    W: Embedding, b: PerFeature, importance: PerFeature, p: PerFeature, least: int, grid: int
) -> Scalar:
    """The loss from inputs with at least so many active features."""
    n, M = len(p), _gram(W)

    def of_output(arguments: tuple[PerFeature, Scalar, PerFeature, Scalar, Scalar]) -> Scalar:
        row, own, others, b_i, p_i = arguments
        at, law = interference_law(row, others, least, grid)
        off = (1 - p_i) * law[-1] * jnp.maximum(at + b_i, 0) ** 2
        on = p_i * (law[-1] + law[-2]) * own_error(own, at + b_i)
        return jnp.sum(off + on)

    others = jnp.where(_diagonal(n), 0, p)
    rows = jnp.where(_diagonal(n), 0, M)
    return jnp.sum(importance * lax.map(of_output, (rows, jnp.diagonal(M), others, b, p)))


def _tail_moments(p: PerFeature, least: int) -> tuple[PerFeature, PerPair]:
    """E[x_j 1(N >= least)] and E[x_j x_k 1(N >= least)]."""
    apart = jnp.where(_diagonal(len(p)), 0, p)  # [n, n], row j without feature j
    single = jax.vmap(lambda rest: activity_tail(rest, least - 1))(apart)
    pair_apart = apart[:, None, :] * jnp.where(_diagonal(len(p)), 0, 1)[None]
    double = jax.vmap(jax.vmap(lambda rest: activity_tail(rest, least - 2)))(pair_apart)
    second = jnp.where(_diagonal(len(p)), p / 3 * single, jnp.outer(p, p) / 4 * double)
    return p / 2 * single, second


def _with_feature(
    q: Inexact[Array, " counts *grid"], p: Scalar, active: Inexact[Array, "*grid"]
) -> Inexact[Array, " counts *grid"]:
    """Add a feature to a law by number active, 0 to c; the last entry is c or more."""
    shifted = jnp.concatenate([jnp.zeros_like(q[:1]), q[:-1]])
    return (q * (1 - p) + shifted * active).at[-1].add(q[-1] * active)


def _uniform_on_grid(end: Float[Array, "k 1"], place: Float[Array, " G"]) -> Float[Array, "k G"]:
    """Weights of U between 0 and `end`, interpolated linearly onto integers."""
    size = jnp.abs(end)
    near = jnp.where(place == 0, 1 - size / 2, jnp.where(place == jnp.sign(end), size / 2, 0))
    far = (_below(end - place) - _below(-place)) / jnp.where(size < 1, 1, end)
    return jnp.where(size < 1, near, far)


def _below(x: Broadcast) -> Broadcast:
    """The integral of the hat function (1 - |t|)₊ over t < x."""
    x = jnp.clip(x, -1, 1)
    return jnp.where(x < 0, (1 + x) ** 2 / 2, 1 - (1 - x) ** 2 / 2)


def _others_inactive(p: PerFeature, chosen: Bool[np.ndarray, "sets n"]) -> Float[Array, " sets"]:
    """P(all features outside the chosen are inactive), one per row of `chosen`."""
    return jnp.prod(jnp.where(chosen, 1, 1 - p), axis=1)


def _diagonal(n: int) -> Bool[np.ndarray, "{n} {n}"]:
    return np.eye(n, dtype=bool)


def _in_pair(n: int) -> Bool[np.ndarray, "{n}*({n}-1)//2 {n}"]:
    """Which features a pair consists of."""
    j, k = np.triu_indices(n, 1)
    return _diagonal(n)[j] | _diagonal(n)[k]


def _gram(W: Embedding) -> PerPair:
    return jnp.matmul(W, W.T, precision="highest")
