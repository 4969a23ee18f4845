"""What an entry of a table promises, checked without running it: shapes, types, gradients.

For every entry of `MODELS`, `SAMPLERS`, `TARGETS`, `OBJECTIVES` and `METRICS` that a program
names. Functions are traced on abstract arrays, so that a check costs milliseconds.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.theory import activity
from superposition_cli.toy import data, patterns, rng
from superposition_cli.toy.metrics import METRICS
from superposition_cli.toy.models import MODELS, Model
from superposition_cli.toy.objectives import OBJECTIVES
from superposition_cli.toy.spec import Knobs, Params, Spec, any_knobs

BATCH = 3


class Broken(NamedTuple):
    """A function that does not do what its table says."""

    table: str
    word: str
    function: str
    sentence: str


def broken(spec: Spec, metrics: tuple[str, ...] = ()) -> Iterator[Broken]:
    """Yield what does not hold of the entries that a spec names, and of the named metrics.

    Exceptions of the functions themselves are not caught.
    """
    with jax.enable_x64(spec.dtype == "float64"):
        knobs, key = any_knobs(spec), rng.key(0)
        yield from _named("SAMPLERS", spec.data, _of_sampler(spec, knobs, key))
        yield from _named("TARGETS", spec.target, _of_target(spec, knobs))
        model = MODELS[spec.model]
        faults = list(_of_parameters(spec, model, knobs, key))
        yield from _named("MODELS", spec.model, faults)
        if faults:
            return
        params = jax.eval_shape(partial(model.init, spec), knobs, key)
        faults = list(_of_model(spec, model, knobs, params))
        yield from _named("MODELS", spec.model, faults)
        if not faults:
            yield from _named("OBJECTIVES", spec.objective, _of_objective(spec, knobs, key, params))
        for name in metrics:
            yield from _named("METRICS", name, _of_metric(spec, name, knobs))


Fault = tuple[str, str]  # the function, and what is wrong with it


def _named(table: str, word: str, faults: Any) -> Iterator[Broken]:
    return (Broken(table, word, *fault) for fault in faults)


def _shaped(name: str, expected: tuple[int, ...], function: Callable, *given: Any) -> Iterator:
    """Complain unless a function returns one floating-point array of a shape."""
    returned = jax.eval_shape(function, *given)
    if not isinstance(returned, jax.ShapeDtypeStruct):
        yield name, f"returns {type(returned).__name__}, not one array"
    elif returned.shape != expected:
        yield name, f"returns the shape {list(returned.shape)}, not {list(expected)}"
    elif not jnp.issubdtype(returned.dtype, jnp.floating):
        yield name, f"returns {returned.dtype} numbers, not floating-point ones"


def _differentiable(name: str, function: Callable, *given: Any) -> Iterator[Fault]:
    """Complain unless JAX can differentiate a function by its first argument."""
    try:
        jax.eval_shape(jax.grad(function), *given)
    except (TypeError, ValueError, NotImplementedError) as problem:
        yield name, f"cannot be differentiated: {str(problem).splitlines()[0]}"


def _of_sampler(spec: Spec, knobs: Knobs, key: jax.Array) -> Iterator[Fault]:
    n, sampler = spec.n_features, data.SAMPLERS[spec.data]
    yield from _shaped("draw", (n, BATCH), lambda k, r: sampler.draw(spec, k, r, BATCH), knobs, key)
    yield from _shaped("marginal", (n,), partial(sampler.marginal, spec), knobs)
    yield from _shaped("joint", (n, n), partial(sampler.joint, spec), knobs)
    if patterns.unlisted(spec, closed=True) is None:
        mask = patterns.masks(spec)
        if mask.ndim != 2 or mask.shape[1] != n or mask.dtype != bool:
            yield "patterns", f"has a mask of {mask.dtype} {list(mask.shape)}, not of bool [P, {n}]"
        elif sampler.choices is not None:
            yield from _miscounted(sampler.choices(n, spec.sets), mask)
        listed = jax.eval_shape(partial(patterns.patterns, spec), knobs)
        if listed.chance.shape != mask.shape[:1]:
            yield "patterns", f"has {len(mask)} patterns and chances {list(listed.chance.shape)}"
    if data.has_moments(spec):
        yield from _shaped("moments", (n,), lambda k: data.moments(spec, k).mean, knobs)
        yield from _shaped("moments", (n, n), lambda k: data.moments(spec, k).covariance, knobs)


def _miscounted(choices: Iterable[activity.Choice], mask: np.ndarray) -> Iterator[Fault]:
    """Complain unless the choices count the patterns of a mask."""
    told, there = activity.counted(choices), Counter(mask.sum(1).tolist())
    if told != there:
        yield "choices", f"count {told} patterns by active features, not {dict(there)}"


def _of_target(spec: Spec, knobs: Knobs) -> Iterator[Fault]:
    target, x = data.TARGETS[spec.target], _array(spec, spec.n_features, BATCH)
    yield from _shaped("answer", x.shape, target.answer, x)
    if target.moments is not None:
        for place in (0, 1):
            moment = lambda low, high, i=place: target.moments(low, high)[i]  # noqa: E731
            yield from _shaped("moments", (), moment, knobs.low, knobs.high)


def _of_parameters(spec: Spec, model: Model, knobs: Knobs, key: jax.Array) -> Iterator[Fault]:
    """Hold the arrays a model begins with against the axes that it says they have."""
    params = jax.eval_shape(partial(model.init, spec), knobs, key)
    if not isinstance(params, Mapping):
        yield "init", f"returns {type(params).__name__}, not a mapping of arrays"
        return
    if set(params) != set(model.axes):
        yield "axes", f"name {', '.join(model.axes)}, but init makes {', '.join(params)}"
        return
    sizes = {"feature": spec.n_features, "hidden": spec.n_hidden}
    for name, leaf in params.items():
        axes = model.axes[name]
        stated = [sizes.get(axis, size) for axis, size in zip(axes, leaf.shape, strict=False)]
        if len(axes) != leaf.ndim or tuple(stated) != leaf.shape:
            yield "init", f"makes {name} of shape {list(leaf.shape)}, not [{', '.join(axes)}]"
        elif leaf.dtype != spec.dtype:
            yield "init", f"makes {name} of {leaf.dtype}, not {spec.dtype}"


def _of_model(spec: Spec, model: Model, knobs: Knobs, params: Params) -> Iterator[Fault]:
    n, m = spec.n_features, spec.n_hidden
    x, h = _array(spec, n, BATCH), _array(spec, m, BATCH)
    shapes = list(_shaped("apply", (n, BATCH), model.apply, params, x))
    yield from shapes or _differentiable("apply", lambda p, x: model.apply(p, x).sum(), params, x)
    yield from _shaped("embedding", (n, m), model.embedding, params)
    yield from _shaped("hidden", (m, BATCH), model.hidden, params, x)
    yield from _shaped("read_out", (n, BATCH), model.read_out, params, h)
    if model.of_moments is not None:
        vector, matrix = _array(spec, n), _array(spec, n, n)
        yield from _shaped("of_moments", (), model.of_moments, params, vector, vector, matrix)
    if (closed := model.few_active) is not None:
        given = (params["W"], params["b"], _array(spec, n))
        yield from _shaped("few_active.none", (), closed.none, *given[1:])
        yield from _shaped("few_active.one", (n,), closed.one, *given)
        yield from _shaped("few_active.two", (n * (n - 1) // 2,), closed.two, *given)


def _of_objective(spec: Spec, knobs: Knobs, key: jax.Array, params: Params) -> Iterator[Fault]:
    def loss(params: Params, knobs: Knobs, key: jax.Array) -> jax.Array:
        return OBJECTIVES[spec.objective].loss(spec, knobs, key, jnp.int32(0), params)

    faults = list(_shaped("loss", (), loss, params, knobs, key))
    yield from faults or _differentiable("loss", loss, params, knobs, key)


def _of_metric(spec: Spec, name: str, knobs: Knobs) -> Iterator[Fault]:
    sizes = {"feature": spec.n_features, "neuron": spec.n_hidden}
    metric, W = METRICS[name], _array(spec, spec.n_features, spec.n_hidden)
    given = W if metric.of == "embedding" else knobs.importance
    returned = jax.eval_shape(metric.compute, given, knobs.feature_probability)
    expected = tuple(sizes[axis] for axis in metric.axes)
    if returned.shape != expected:
        yield "compute", f"returns the shape {list(returned.shape)}, not {list(expected)}"


def _array(spec: Spec, *shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, np.dtype(spec.dtype))
