"""What a trained model is judged by: its loss on fresh data, and its metrics."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from superposition_cli.theory import activity
from superposition_cli.theory.shapes import Inputs, Key, PerFeature, Scalar
from superposition_cli.toy import data, metrics, models
from superposition_cli.toy.objectives import (
    OBJECTIVES,
    affordable,
    batch_loss,
    errors,
    expected_loss,
    has_expected_loss,
    has_null_loss,
    null_loss,
    work,
)
from superposition_cli.toy.patterns import COARSER
from superposition_cli.toy.spec import Knobs, SomeParams, Spec

MOST_NODES = 65_536  # of the quadrature that judges a model, where `activity.MOST` allows them
TOGETHER = 2**24  # numbers in an array of all models judged at once: 64 MiB in float32
MOST_PAIRS = 2**28  # numbers in an array of all pairs of features of these models: 1 GiB


class Judgement(NamedTuple):
    """The loss a model is judged by, and how far off it may be."""

    loss: Array  # [], or [n] of features
    error: Array  # likewise; standard error of the samples, or what a finer rule changed


def evaluation_loss(spec: Spec, knobs: Knobs, key: Key, params: SomeParams) -> Judgement:
    """Return the loss a model is judged by: without sampling where possible, else on fresh data.

    Quadrature is as fine as `MOST_NODES` allows, and its error is taken to be all that the
    coarser one, which training uses, is off: the finer one is off by less. Where training's is
    all that is allowed, it is compared with a rule of one degree less.

    The mean over `spec.eval_samples` samples in batches of `spec.batch_size` (rounded up to
    whole batches), batch t from `fold_in(key, t)`. The key is consumed. An objective may
    judge otherwise, as that of packings does.
    """
    if (judge := OBJECTIVES[spec.objective].judge) is not None:
        loss = judge(spec, knobs, params)
        return Judgement(loss, jnp.zeros_like(loss))
    if has_expected_loss(spec):
        fine, coarse = (expected_loss(spec, knobs, params, finer) for finer in _rules(spec))
        return Judgement(fine, jnp.abs(coarse - fine))

    def body(sums: Array, t: Array) -> tuple[Array, None]:
        loss = batch_loss(spec, knobs, params, _batch(spec, knobs, key, t))
        return sums + jnp.stack([loss, loss**2]), None

    batches = _batches(spec)
    zeros = jnp.zeros(2, knobs.importance.dtype)
    mean, square = jax.lax.scan(body, zeros, jnp.arange(batches))[0] / batches
    return Judgement(mean, jnp.sqrt(jnp.maximum(square - mean**2, 0) / max(batches - 1, 1)))


def _finer(spec: Spec) -> int:
    """How many nodes per axis the quadrature that judges has beyond that of training."""
    return affordable(spec, min(MOST_NODES, activity.MOST // spec.n_features))


def _rules(spec: Spec) -> tuple[int, int]:
    """The `finer` of the quadrature that judges, and of the one it is compared with."""
    finer = _finer(spec)
    return finer, 0 if finer else COARSER


def _together(spec: Spec) -> int:
    """How many models are judged at once, so that memory does not run out."""
    by_inputs = TOGETHER // (spec.n_features * _looked_at(spec))
    return max(1, min(by_inputs, MOST_PAIRS // spec.n_features**2))


def _looked_at(spec: Spec) -> int:
    """How many inputs are looked at together: the nodes of the quadrature, or a drawn batch."""
    if OBJECTIVES[spec.objective].judge is not None:
        return 1
    drawn = spec.batch_size if not (has_expected_loss(spec) and has_null_loss(spec)) else 1
    return max(drawn, work(spec, _finer(spec)) if has_expected_loss(spec) else 1)


def reference_loss(spec: Spec, knobs: Knobs, key: Key) -> Scalar:
    """Return the null loss: exactly where it is known, else of the samples of `evaluation_loss`.

    Σ_i I_i (E y_i² - (E y_i)²), both means over the same samples. The key is consumed.
    """
    if has_null_loss(spec):
        return null_loss(spec, knobs)

    def of_batch(t: Array) -> Array:
        y = data.TARGETS[spec.target].answer(_batch(spec, knobs, key, t))
        return jnp.stack([y.mean(1), (y**2).mean(1)])

    mean, square = jax.lax.map(of_batch, jnp.arange(_batches(spec))).mean(0)
    return jnp.sum(knobs.importance * (square - mean**2))


def feature_loss(spec: Spec, knobs: Knobs, key: Key, params: SomeParams) -> Judgement:
    """Return every feature's part of the loss, I_i E(y_i - y'_i)², and its error: [n] each.

    They add up to the loss. Without sampling where that is, else over the same samples. The loss
    is linear in the importances: its gradient by them is every output's error. NaN where an
    objective judges something else than answers. The key is consumed.
    """
    importance = jnp.asarray(knobs.importance)
    if OBJECTIVES[spec.objective].judge is not None:
        return Judgement(*jnp.full((2, spec.n_features), jnp.nan, importance.dtype))
    if has_expected_loss(spec):

        def weighed(importance: Array, finer: int) -> Array:
            return expected_loss(spec, knobs._replace(importance=importance), params, finer)

        fine, coarse = (importance * jax.grad(weighed)(importance, finer) for finer in _rules(spec))
        return Judgement(fine, jnp.abs(coarse - fine))

    def of_batch(t: Array) -> Array:
        return errors(spec, knobs, params, _batch(spec, knobs, key, t)).mean(1)

    batches = _batches(spec)
    each = jax.lax.map(of_batch, jnp.arange(batches))
    return Judgement(each.mean(0), each.std(0) / jnp.sqrt(max(batches - 1, 1)))


def feature_errors(spec: Spec, knobs: Knobs, key: Key, params: SomeParams) -> PerFeature:
    """Return every output's expected squared error, whatever its importance: [n].

    See `feature_loss`. The key is consumed.
    """
    equal = knobs._replace(importance=jnp.ones_like(knobs.importance))
    return feature_loss(spec, equal, key, params).loss


def _batches(spec: Spec) -> int:
    """How many whole batches hold the samples that a model is judged by."""
    return -(-spec.eval_samples // spec.batch_size)


def _batch(spec: Spec, knobs: Knobs, key: Key, t: Array) -> Inputs:
    """Draw batch t of these samples."""
    return data.SAMPLERS[spec.data].draw(spec, knobs, jax.random.fold_in(key, t), spec.batch_size)


@partial(jax.jit, static_argnums=(0, 1))
def judge(
    spec: Spec, names: tuple[str, ...], knobs: Knobs, keys: Array, params: SomeParams
) -> dict[str, Array]:
    """Return loss, its error, null loss, normalised loss and the named metrics of K models.

    Args:
        spec: what is judged; with its objective and sizes, whether samples are needed.
        names: metrics of `METRICS`.
        knobs: the traced settings, [K, ...].
        keys: the keys [K] of the evaluation batches, as `train.model_keys` returns them;
            they are consumed.
        params: the parameters, [K, ...].

    Returns:
        `loss`, `loss_error`, `null_loss` and `loss_normalised`, [K], then each metric, [K, ...].

    Raises:
        KeyError: a name is not of a metric.
    """

    def one(knobs: Knobs, key: Array, params: SomeParams) -> dict[str, Array]:
        loss, error = evaluation_loss(spec, knobs, key, params)
        null = reference_loss(spec, knobs, key)
        given = _given(spec, knobs, key, params, names)
        asked = {name: metrics.METRICS[name] for name in names}
        measured = {name: one.compute(*given[one.of]) for name, one in asked.items()}
        judged = {"loss": loss, "loss_error": error, "null_loss": null}
        return {**judged, "loss_normalised": loss / null, **measured}

    return _mapped(lambda given: one(*given), (knobs, keys, params), _together(spec))


def _mapped(function: Callable, given: Any, together: int) -> Any:
    """`jax.vmap` of a function of one tree, over so many at a time."""
    count = len(jax.tree.leaves(given)[0])
    if count <= together:
        return jax.vmap(function)(given)
    return jax.lax.map(function, given, batch_size=together)


def _given(
    spec: Spec, knobs: Knobs, key: Key, params: SomeParams, names: tuple[str, ...]
) -> dict[str, tuple[Array, Array]]:
    """What metrics are computed of; parts of the loss where one asks for them."""
    W = models.MODELS[spec.model].embedding(params)
    found = {"embedding": (W, jnp.asarray(data.SAMPLERS[spec.data].marginal(spec, knobs)))}
    if any(metrics.METRICS[name].of == "loss" for name in names):
        found["loss"] = feature_loss(spec, knobs, key, params)
    return found
