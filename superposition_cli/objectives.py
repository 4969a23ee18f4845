"""What training descends, and what it is judged by.

The loss is everywhere the paper's: L = E sum_i I_i (y_i - y'_i)^2, the sum over features
of importance times squared error, in expectation over inputs, for one model.
Source: Elhage et al. 2022.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from superposition_cli import data, models, theory
from superposition_cli.spec import Knobs, Params, Spec

Objective = Callable[[Spec, Knobs, Array, Params], Array]


def batch_loss(spec: Spec, knobs: Knobs, params: Params, x: Array) -> Array:
    """Return the loss on a batch x [n, B]: mean over B of sum_i I_i (y_i - y'_i)^2."""
    error = data.TARGETS[spec.target].answer(x) - models.MODELS[spec.model].apply(params, x)
    return jnp.sum(knobs.importance[:, None] * error**2) / x.shape[1]


def sampled(spec: Spec, knobs: Knobs, key: Array, params: Params) -> Array:
    """Return the loss on a fresh batch of `spec.batch_size` inputs; the key is consumed."""
    x = data.SAMPLERS[spec.data].draw(spec, knobs, key, spec.batch_size)
    return batch_loss(spec, knobs, params, x)


def null_loss(spec: Spec, knobs: Knobs) -> Array:
    """Return the loss of answering the mean: sum_i I_i var(y_i)."""
    return theory.null_loss(knobs.importance, jnp.diagonal(data.moments(spec, knobs).covariance))


OBJECTIVES: dict[str, Objective] = {"sampled": sampled}
