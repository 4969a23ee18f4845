"""Sparse recovery: from a hidden vector h = Wᵀx back to a sparse x, for one signal.

    omp            orthogonal matching pursuit: one feature after the other
    fista          min ½ ‖Wᵀx - h‖² + λ ‖x‖₁ (lasso), or with x >= 0
    basis_pursuit  min ‖x‖₁ with Wᵀx = h, or with x >= 0 as well

W is [n, m], h [m], x [n]; `jax.vmap` over h from outside. All iterate a fixed number of
times, since a batch waits for its slowest signal anyway.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from superposition_cli.theory.shapes import Embedding, PerFeature, Scalar

Hidden = Float[Array, " m"]  # h = Wᵀx
SOLVED = 1e-6  # relative residual at which omp has nothing left to explain


def omp(W: Embedding, h: Hidden) -> PerFeature:
    """Return x by orthogonal matching pursuit with at most m features.

    Each step takes the feature whose direction is closest to the residual and fits h anew by
    least squares, through Q R of the vectors taken. Source: Pati et al. 1993.
    """
    n, m = W.shape
    U = W / jnp.linalg.norm(W, axis=1, keepdims=True)

    def take(j: Array, carry: tuple[Array, Array, Array, Array]) -> tuple:
        Q, R, taken, residual = carry
        free = jnp.ones(n, bool).at[taken].set(False, mode="drop")
        best = jnp.argmax(jnp.where(free, jnp.abs(U @ residual), -1))
        on = jnp.linalg.norm(residual) > SOLVED * jnp.linalg.norm(h)
        along = Q.T @ W[best]
        new = W[best] - Q @ along
        again = Q.T @ new  # once more, against rounding
        new, along = new - Q @ again, along + again
        length = jnp.linalg.norm(new)
        on &= length > SOLVED * jnp.linalg.norm(W[best])
        q = jnp.where(on, new / jnp.where(on, length, 1), 0)
        column = jnp.where(on, along.at[j].set(length), jnp.zeros(m, W.dtype).at[j].set(1))
        taken = taken.at[j].set(jnp.where(on, best, n))
        return Q.at[:, j].set(q), R.at[:, j].set(column), taken, residual - q * (q @ residual)

    start = (jnp.zeros((m, m), W.dtype), jnp.zeros((m, m), W.dtype), jnp.full(m, n), h)
    Q, R, taken, _ = jax.lax.fori_loop(0, m, take, start)
    weights = jax.scipy.linalg.solve_triangular(R, Q.T @ h)
    return jnp.zeros(n, W.dtype).at[taken].add(weights, mode="drop")


def fista(
    W: Embedding, h: Hidden, penalty: float, nonnegative: bool, iterations: int
) -> PerFeature:
    """Return x of min ½ ‖Wᵀx - h‖² + λ ‖x‖₁, with x >= 0 on request: lasso; λ = 0 is NNLS.

    With fewer measurements than features NNLS has many solutions, and this one is not sparse.
    Accelerated proximal gradient from x = 0, the momentum restarted where it points uphill.
    Source: Beck and Teboulle 2009; restart of O'Donoghue and Candès 2015.
    """
    rate = 1 / jnp.linalg.eigvalsh(W.T @ W)[-1]

    def step(_: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, y, t = carry
        new = shrink(y - rate * (W @ (W.T @ y - h)), rate * penalty, nonnegative)
        uphill = jnp.vdot(y - new, new - x) > 0
        following = jnp.where(uphill, 1, (1 + jnp.sqrt(1 + 4 * t**2)) / 2)
        momentum = jnp.where(uphill, 0, (t - 1) / following)
        return new, new + momentum * (new - x), following

    zero = jnp.zeros(len(W), W.dtype)
    return jax.lax.fori_loop(0, iterations, step, (zero, zero, jnp.ones((), W.dtype)))[0]


def basis_pursuit(W: Embedding, h: Hidden, nonnegative: bool, iterations: int) -> PerFeature:
    """Return x of least ‖x‖₁ with Wᵀx = h, and x >= 0 on request.

    Douglas-Rachford splitting: projections on the solutions of Wᵀx = h, and shrinkage by a
    share of the typical entry. Source: Boyd et al. 2011, section 6.2.
    """
    projector = jnp.linalg.pinv(W.T)  # [n, m]; columns of zeros in W are no measurements
    first = projector @ h
    step = jnp.max(jnp.abs(first))

    def sweep(_: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        z, u = carry
        x = z - u
        x = x + projector @ (h - W.T @ x)
        z = shrink(x + u, step, nonnegative)
        return z, u + x - z

    zero = jnp.zeros(len(W), W.dtype)
    return jax.lax.fori_loop(0, iterations, sweep, (first, zero))[0]


def shrink(x: PerFeature, by: Scalar, nonnegative: bool) -> PerFeature:
    """Return x moved towards 0 by so much, and cut off at 0 where it must not be negative."""
    if nonnegative:
        return jnp.maximum(x - by, 0)
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - by, 0)
