"""What a trained model is judged by: its loss on fresh data, and its metrics."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from superposition_cli import data, metrics, models, theory
from superposition_cli.objectives import batch_loss, null_loss
from superposition_cli.spec import Knobs, Params, Spec


def linear_loss(spec: Spec, knobs: Knobs, params: Params) -> Array:
    """Return the exact expected loss of a linear model on identity targets."""
    mean, covariance = data.moments(spec, knobs)
    return theory.linear_loss(params["W"], params["b"], knobs.importance, mean, covariance)


def has_exact_loss(spec: Spec) -> bool:
    """Say whether the expected loss has a closed form that needs no sampling."""
    return spec.model == "linear" and spec.target == "identity"


def evaluation_loss(spec: Spec, knobs: Knobs, key: Array, params: Params) -> Array:
    """Return the loss a model is judged by: exact where possible, else on fresh data.

    The mean over `spec.eval_samples` samples in batches of `spec.batch_size` (rounded up to
    whole batches), batch t from `fold_in(key, t)`. The key is consumed.
    """
    if has_exact_loss(spec):
        return linear_loss(spec, knobs, params)

    def body(total: Array, t: Array) -> tuple[Array, None]:
        x = data.SAMPLERS[spec.data].draw(spec, knobs, jax.random.fold_in(key, t), spec.batch_size)
        return total + batch_loss(spec, knobs, params, x), None

    batches = -(-spec.eval_samples // spec.batch_size)
    zero = jnp.zeros((), knobs.importance.dtype)
    return jax.lax.scan(body, zero, jnp.arange(batches))[0] / batches


@partial(jax.jit, static_argnums=(0, 1))
def judge(
    spec: Spec, names: tuple[str, ...], knobs: Knobs, keys: Array, params: Params
) -> dict[str, Array]:
    """Return loss, null loss, normalised loss and the named metrics of K models."""

    def one(knobs: Knobs, key: Array, params: Params) -> dict[str, Array]:
        loss, null = evaluation_loss(spec, knobs, key, params), null_loss(spec, knobs)
        W = models.MODELS[spec.model].embedding(params)
        measured = {name: metrics.METRICS[name].compute(W, knobs) for name in names}
        return {"loss": loss, "null_loss": null, "loss_normalised": loss / null, **measured}

    return jax.vmap(one)(knobs, keys, params)
