"""The toy models: how each begins, what it computes, where its embedding lies.

    linear        y = W Wᵀx + b
    relu_output   y = ReLU(W Wᵀx + b)
    relu_hidden   y = ReLU(W ReLU(Wᵀx) + b)
    abs           y = ReLU(U ReLU(Wᵀx) + b), untied

W, U are [n, m], b is [n], x and y are [n, B]. What is between the two matrices is the
hidden activation h [m, B]: Wᵀx for the first two, ReLU(Wᵀx) for the others.
Source: Elhage et al. 2022.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Real

from superposition_cli.theory import expansion, linear
from superposition_cli.theory.shapes import (
    Embedding,
    HiddenVectors,
    Inputs,
    Key,
    PerFeature,
    PerPair,
    Scalar,
    Some,
    SomeEmbedding,
    SomeHidden,
    SomeInputs,
)
from superposition_cli.toy import rng
from superposition_cli.toy.spec import Knobs, Params, SomeParams, Spec


class Init(NamedTuple):
    """How a matrix of weights begins.

    std: (spec, knobs, inputs) -> [], the standard deviation of its entries; inputs is what
        its layer sums over: n for W, m for U.
    unit: (key, shape, dtype) -> entries of mean 0 and variance 1; the key is consumed.
    """

    std: Callable[[Spec, Knobs, int], Array]
    unit: Callable[..., Array]


class FewActive(NamedTuple):
    """Closed forms of the loss by pattern of activity, for W [n, m], b [n], importance [n].

    Magnitudes are independent U[0, 1], the answer asked for is the input itself.

    none: -> [], no feature active. one: -> [n], feature i alone.
    two: -> [n (n - 1) / 2], features i < j together, in the order of `np.triu_indices`.
    """

    none: Callable[[Array, Array], Array]  # of b and importance
    one: Callable[[Array, Array, Array], Array]
    two: Callable[[Array, Array, Array], Array]


class Model(NamedTuple):
    """One architecture.

    init: (spec, knobs, key) -> params; the key is consumed.
    apply: (params, x [n, B]) -> y [n, B].
    embedding: (params) -> W [n, m], row i being the direction of feature i.
    hidden: (params, x [n, B]) -> h [m, B], the hidden activation.
    read_out: (params, h [m, B]) -> y [n, B]; read_out(hidden(x)) is apply(x) up to rounding.
    axes: the axes of each parameter, each `feature`, `hidden` or a name of the model's own;
        what is kept beside the arrays, and along what a rotation acts.
    linear_hidden: whether h is Wᵀx, so that no basis of the hidden space is privileged.
    of_moments: (params, importance, mean, covariance) -> [], the expected loss where the first
        two moments of the inputs decide it and the answer asked for is the input itself.
    few_active: closed forms of parameters W and b, where there are some.
    """

    init: Callable[[Spec, Knobs, Array], Params]
    apply: Callable[[SomeParams, Some], Array]
    embedding: Callable[[SomeParams], Array]
    hidden: Callable[[SomeParams, Some], Array]
    read_out: Callable[[SomeParams, Some], Array]
    axes: Mapping[str, tuple[str, ...]]
    linear_hidden: bool = False
    of_moments: Callable[[SomeParams, Array, Array, Array], Array] | None = None
    few_active: FewActive | None = None


def init_tied(spec: Spec, knobs: Knobs, key: Key) -> Params:
    """Draw W and set b to zero; the key is consumed."""
    W = _draw_weights(spec, knobs, key, spec.n_features)
    return {"W": W, "b": jnp.zeros(spec.n_features, spec.dtype)}


def init_untied(spec: Spec, knobs: Knobs, key: Key) -> Params:
    """Draw W and U independently and set b to zero; the key is consumed."""
    of_tied, of_U = rng.parts(key, 2)
    tied = init_tied(spec, knobs, of_tied)
    return {**tied, "U": _draw_weights(spec, knobs, of_U, spec.n_hidden)}


def _draw_weights(spec: Spec, knobs: Knobs, key: Key, inputs: int) -> Embedding:
    law = INITS[spec.init]
    std = knobs.init_scale * law.std(spec, knobs, inputs)
    return std * law.unit(key, (spec.n_features, spec.n_hidden), spec.dtype)


def xavier_std(spec: Spec, knobs: Knobs, inputs: int) -> Scalar:
    """Glorot's standard deviation of one n x m matrix: sqrt(2 / (n + m))."""
    return jnp.sqrt(2 / (spec.n_features + spec.n_hidden)) * jnp.ones_like(knobs.init_instances)


def stacked_std(spec: Spec, knobs: Knobs, inputs: int) -> Scalar:
    """Glorot's formula misread on a stack of K matrices [K, n, m]: sqrt(2 / ((n + K) m)).

    This is what a tensor initialiser gives when it takes the first axis for the outputs;
    the spread then depends on how many models share the tensor. Kept for parity only.
    """
    return jnp.sqrt(2 / ((spec.n_features + knobs.init_instances) * spec.n_hidden))


def kaiming_std(spec: Spec, knobs: Knobs, inputs: int) -> Scalar:
    """He's standard deviation of a layer that a ReLU follows: sqrt(2 / inputs)."""
    return jnp.sqrt(2 / inputs) * jnp.ones_like(knobs.init_instances)


def unit_uniform(key: Key, shape: tuple[int, ...], dtype: str) -> Array:
    """Draw from U[-sqrt(3), sqrt(3)], which has variance 1; the key is consumed."""
    return jax.random.uniform(key, shape, dtype, -(3**0.5), 3**0.5)


def reconstruct(W: SomeEmbedding, x: SomeInputs) -> Inputs:
    """Return W Wᵀx [n, B], through the n x n product where that is less work."""
    W, x = jnp.asarray(W), jnp.asarray(x)
    n, m = W.shape
    return (W @ W.T) @ x if n <= GRAM_RATIO * m else _through_hidden(W, x)


@jax.custom_vjp
def _through_hidden(W: SomeEmbedding, x: SomeInputs) -> Inputs:
    """W (Wᵀx), with a gradient that takes one product over the batch instead of two.

    With g the gradient of the output and k = Wᵀg, dW = g hᵀ + x kᵀ = [g x] [h k]ᵀ. A
    transposed matrix is stored before it is multiplied: the CPU's product is twice as fast
    on it as on a view.
    """
    return _forward(jnp.asarray(W), jnp.asarray(x))[0]


def _forward(W: SomeEmbedding, x: SomeInputs) -> tuple[Inputs, tuple[Some, Some, Some]]:
    h = jax.lax.optimization_barrier(W.T) @ x
    return W @ h, (W, x, h)


def _backward(kept: tuple[Some, Some, Some], g: Some) -> tuple[Array, Array]:
    W, x, h = kept
    k = jax.lax.optimization_barrier(W.T) @ g
    return jnp.concatenate([g, x], 1) @ jnp.concatenate([h, k], 1).T, W @ k


_through_hidden.defvjp(_forward, _backward)


def apply_linear(params: SomeParams, x: SomeInputs) -> Inputs:
    """Return W Wᵀx + b."""
    return reconstruct(params["W"], x) + params["b"][:, None]


def apply_relu_output(params: SomeParams, x: SomeInputs) -> Inputs:
    """Return ReLU(W Wᵀx + b)."""
    return jax.nn.relu(apply_linear(params, x))


def apply_relu_hidden(params: SomeParams, x: SomeInputs) -> Inputs:
    """Return ReLU(W ReLU(Wᵀx) + b)."""
    return relu_read_out(params, relu_activation(params, x))


def apply_abs(params: SomeParams, x: SomeInputs) -> Inputs:
    """Return ReLU(U ReLU(Wᵀx) + b)."""
    return untied_read_out(params, relu_activation(params, x))


def linear_activation(params: SomeParams, x: SomeInputs) -> HiddenVectors:
    """Return Wᵀx [m, B]."""
    return jnp.asarray(params["W"]).T @ x


def relu_activation(params: SomeParams, x: SomeInputs) -> HiddenVectors:
    """Return ReLU(Wᵀx) [m, B]."""
    return jax.nn.relu(linear_activation(params, x))


def linear_read_out(params: SomeParams, h: SomeHidden) -> Inputs:
    """Return W h + b [n, B]."""
    return jnp.asarray(params["W"]) @ h + params["b"][:, None]


def relu_read_out(params: SomeParams, h: SomeHidden) -> Inputs:
    """Return ReLU(W h + b) [n, B]."""
    return jax.nn.relu(linear_read_out(params, h))


def untied_read_out(params: SomeParams, h: SomeHidden) -> Inputs:
    """Return ReLU(U h + b) [n, B]."""
    return jax.nn.relu(params["U"] @ h + params["b"][:, None])


def embedding(params: SomeParams) -> Embedding:
    """Return W [n, m]."""
    return jnp.asarray(params["W"])


def rotated(
    axes: Mapping[str, tuple[str, ...]], params: SomeParams, R: Real[Some, "m m"]
) -> Params:
    """Return the model whose hidden space is rotated by R [m, m], along every axis `hidden`.

    W becomes W Rᵀ, and so does U: what was φ(Wᵀx) becomes φ(R Wᵀx), and what reads it applies
    Rᵀ first. Without a nonlinearity φ between them, or with R a permutation, the model
    computes what it did. Source: Elhage et al. 2022, "Privileged and non-privileged bases".
    """
    return {name: _turned(axes[name], leaf, R) for name, leaf in params.items()}


def _turned(
    axes: tuple[str, ...], leaf: Real[Some, "*shape"], R: Real[Some, "m m"]
) -> Real[Array, "*shape"]:
    turned = jnp.asarray(leaf)
    for place, axis in enumerate(axes):
        if axis == "hidden":
            turned = jnp.moveaxis(jnp.moveaxis(turned, place, -1) @ R.T, -1, place)
    return turned


def linear_loss(
    params: SomeParams, importance: PerFeature, mean: PerFeature, covariance: PerPair
) -> Scalar:
    """Return the expected loss of a linear model, `theory.linear.linear_loss`."""
    return linear.linear_loss(
        jnp.asarray(params["W"]), jnp.asarray(params["b"]), importance, mean, covariance
    )


def _one_active(W: Embedding, b: PerFeature, importance: PerFeature) -> PerFeature:
    """The loss of each feature active alone: its own deficit, and what it does to the others."""
    deficit = expansion.single_deficits(W, b, importance)
    return deficit + expansion.single_interference(W, b, importance)


GRAM_RATIO = 2.5
TIED = {"W": ("feature", "hidden"), "b": ("feature",)}
UNTIED = {**TIED, "U": ("feature", "hidden")}

INITS: dict[str, Init] = {
    "xavier_normal": Init(xavier_std, jax.random.normal),
    "notebook_stacked": Init(stacked_std, jax.random.normal),
    "kaiming_uniform": Init(kaiming_std, unit_uniform),
}

MODELS: dict[str, Model] = {
    "linear": Model(
        init_tied,
        apply_linear,
        embedding,
        linear_activation,
        linear_read_out,
        TIED,
        linear_hidden=True,
        of_moments=linear_loss,
    ),
    "relu_output": Model(
        init_tied,
        apply_relu_output,
        embedding,
        linear_activation,
        relu_read_out,
        TIED,
        linear_hidden=True,
        few_active=FewActive(expansion.silent_loss, _one_active, expansion.pair_losses),
    ),
    "relu_hidden": Model(
        init_tied, apply_relu_hidden, embedding, relu_activation, relu_read_out, TIED
    ),
    "abs": Model(init_untied, apply_abs, embedding, relu_activation, untied_read_out, UNTIED),
}
