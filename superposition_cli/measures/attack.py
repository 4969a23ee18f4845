"""Attacks on inputs: how much a small push in the worst direction costs.

The responses M = W Wᵀ of a trained model to pushes along its own rows M_i are the strongest
the linear part knows. One model, batch last: W [n, m], x [n, B]. Pushes are of a length λ
and cost E max_i L(x + δ_i) - L(x), the answer being that to x without the push.
Source: Elhage et al. 2022, "Superposition and adversarial robustness".
"""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from superposition_cli.theory.shapes import Embedding, Inputs, PerPair, Scalar
from superposition_cli.toy import data, models
from superposition_cli.toy.spec import Knobs, Params, Spec

LENGTH = 0.1  # of an attack, by the mean length of an input
SHORTEST = 1e-6  # of a row of M that has a direction


def directions(W: Embedding) -> PerPair:
    """Return the unit rows of W Wᵀ; a feature without a vector has a zero row."""
    M = jnp.matmul(W, W.T, precision="highest")
    length = jnp.linalg.norm(M, axis=1, keepdims=True)
    return jnp.where(length > SHORTEST, M / jnp.maximum(length, SHORTEST), 0)


def input_length(x: Inputs) -> Scalar:
    """Return the mean length of an input, E‖x‖."""
    return jnp.mean(jnp.linalg.norm(x, axis=0))


def vulnerability(spec: Spec, knobs: Knobs, params: Params, x: Inputs, length: Scalar) -> Scalar:
    """Return what the worst attack of a given length costs, E [max_i L(x ± λ M_i/‖M_i‖) - L(x)].

    Every input gets the attack that raises its own loss most, of 2n. Never below 0 if an
    attack of length 0 is allowed, as it is here. Shapes: x [n, B], length [], returns [].
    """
    answer = data.TARGETS[spec.target].answer(x)

    def loss(seen: Inputs) -> Float[Array, " B"]:
        error = answer - models.MODELS[spec.model].apply(params, seen)
        return jnp.sum(knobs.importance[:, None] * error**2, axis=0)

    ways = directions(models.MODELS[spec.model].embedding(params)) * length
    unattacked = loss(x)

    def worse(i: Array, worst: Float[Array, " B"]) -> Float[Array, " B"]:
        push = ways[i][:, None]
        return jnp.maximum(worst, jnp.maximum(loss(x + push), loss(x - push)))

    return jnp.mean(jax.lax.fori_loop(0, spec.n_features, worse, unattacked) - unattacked)
