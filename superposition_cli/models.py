"""The toy models: how each begins, what it computes, where its embedding lies.

    linear        y = W Wᵀx + b
    relu_output   y = ReLU(W Wᵀx + b)
    relu_hidden   y = ReLU(W ReLU(Wᵀx) + b)
    abs           y = ReLU(U ReLU(Wᵀx) + b), untied

W, U are [n, m], b is [n], x and y are [n, B]. Source: Elhage et al. 2022.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from superposition_cli.spec import Knobs, Params, Spec


class Model(NamedTuple):
    """One architecture.

    init: (spec, knobs, key) -> params; the key is consumed.
    apply: (params, x [n, B]) -> y [n, B].
    embedding: (params) -> W [n, m], row i being the direction of feature i.
    """

    init: Callable[[Spec, Knobs, Array], Params]
    apply: Callable[[Params, Array], Array]
    embedding: Callable[[Params], Array]


def init_tied(spec: Spec, knobs: Knobs, key: Array) -> Params:
    """Draw W and set b to zero; the key is consumed."""
    return {"W": _draw_weights(spec, knobs, key), "b": jnp.zeros(spec.n_features, spec.dtype)}


def init_untied(spec: Spec, knobs: Knobs, key: Array) -> Params:
    """Draw W and U independently and set b to zero; the key is consumed."""
    tied = init_tied(spec, knobs, jax.random.fold_in(key, 0))
    return {**tied, "U": _draw_weights(spec, knobs, jax.random.fold_in(key, 1))}


def _draw_weights(spec: Spec, knobs: Knobs, key: Array) -> Array:
    std = INITS[spec.init](spec, knobs)
    return std * jax.random.normal(key, (spec.n_features, spec.n_hidden), spec.dtype)


def xavier_std(spec: Spec, knobs: Knobs) -> Array:
    """Glorot's standard deviation of one n x m matrix: sqrt(2 / (n + m))."""
    return jnp.sqrt(2 / (spec.n_features + spec.n_hidden)) * jnp.ones_like(knobs.init_instances)


def stacked_std(spec: Spec, knobs: Knobs) -> Array:
    """Glorot's formula misread on a stack of K matrices [K, n, m]: sqrt(2 / ((n + K) m)).

    This is what a tensor initialiser gives when it takes the first axis for the outputs;
    the spread then depends on how many models share the tensor. Kept for parity only.
    """
    return jnp.sqrt(2 / ((spec.n_features + knobs.init_instances) * spec.n_hidden))


def reconstruct(W: Array, x: Array) -> Array:
    """Return W Wᵀx [n, B], through the n x n product where that is less work."""
    n, m = W.shape
    if n <= GRAM_RATIO * m:
        return product(product(W, W.T), x)
    return product(W, product(W.T, x))


def product(A: Array, x: Array) -> Array:
    """Return the matrix product A x, spelled out as a sum where A is tiny.

    A batched product of 2 x 1 matrices costs more in set-up than in arithmetic, while the
    sum fuses with what comes before and after it.
    """
    if A.shape[1] <= SPELLED_OUT:
        return sum((A[:, k, None] * x[None, k] for k in range(1, A.shape[1])), A[:, :1] * x[:1])
    return A @ x


def apply_linear(params: Params, x: Array) -> Array:
    """Return W Wᵀx + b."""
    return reconstruct(params["W"], x) + params["b"][:, None]


def apply_relu_output(params: Params, x: Array) -> Array:
    """Return ReLU(W Wᵀx + b)."""
    return jax.nn.relu(apply_linear(params, x))


def apply_relu_hidden(params: Params, x: Array) -> Array:
    """Return ReLU(W ReLU(Wᵀx) + b)."""
    hidden = jax.nn.relu(product(params["W"].T, x))
    return jax.nn.relu(product(params["W"], hidden) + params["b"][:, None])


def apply_abs(params: Params, x: Array) -> Array:
    """Return ReLU(U ReLU(Wᵀx) + b)."""
    hidden = jax.nn.relu(product(params["W"].T, x))
    return jax.nn.relu(product(params["U"], hidden) + params["b"][:, None])


def embedding(params: Params) -> Array:
    """Return W [n, m]."""
    return params["W"]


GRAM_RATIO = 2.5
SPELLED_OUT = 0

INITS: dict[str, Callable[[Spec, Knobs], Array]] = {
    "xavier_normal": xavier_std,
    "notebook_stacked": stacked_std,
}

MODELS = {
    "linear": Model(init_tied, apply_linear, embedding),
    "relu_output": Model(init_tied, apply_relu_output, embedding),
    "relu_hidden": Model(init_tied, apply_relu_hidden, embedding),
    "abs": Model(init_untied, apply_abs, embedding),
}
