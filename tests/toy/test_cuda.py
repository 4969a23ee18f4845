"""The programs as CUDA would get them, lowered on a CPU: products, loops, calls."""

import contextlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import make_spec
from lowering import foreign_calls, loops, products, short_products

from superposition_cli.theory import expansion
from superposition_cli.toy import evaluate, metrics, models, objectives, rng, train
from superposition_cli.toy.spec import any_knobs

K, T, S = 3, 4, 2
CUDA = ("cuda",)
SPECS = {
    **{f"{name} sampled": make_spec(optimizer=name) for name in train.OPTIMIZERS},
    **{f"{name} objective": make_spec(objective=name) for name in objectives.OBJECTIVES},
    **{f"{name} model": make_spec(model=name) for name in models.MODELS},
    "lbfgs population": make_spec(optimizer="lbfgs", objective="population"),
    "through hidden": make_spec(n_features=8),
    "attacked and sparse": make_spec(attacked=True, sparse_hidden=True),
}
each_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def many(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((K, *leaf.shape), leaf.dtype), tree)


def arguments(spec):
    """The shapes of the knobs, keys and states of K models."""
    given = many((any_knobs(spec), rng.key(0)))
    return (*given, jax.eval_shape(partial(train.start, train.TOY, spec), *given))


def start(spec):
    knobs, keys, _ = arguments(spec)
    return train.lowered(train._start, (train.TOY, spec), knobs, keys, platforms=CUDA).as_text()


def advance(spec):
    knobs, keys, state = arguments(spec)
    numbers = jax.ShapeDtypeStruct((T,), np.int32)
    room = {
        name: jax.ShapeDtypeStruct((S + 1, *leaf.shape), leaf.dtype)
        for name, leaf in state.params.items()
    }
    given = (numbers, numbers, knobs, keys, state, room)
    return train.lowered(train._advance, (train.TOY, spec), *given, platforms=CUDA).as_text()


def judge(spec, names=()):
    knobs, keys, state = arguments(spec)
    given = (knobs, keys, state.params)
    return train.lowered(evaluate.judge, (spec, names), *given, platforms=CUDA).as_text()


def loops_of_updates(spec):
    """The loops of the optimiser alone, over a loss that has none: a sum of squares."""
    _, _, state = arguments(spec)
    one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), state)

    def loss(params):
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))

    def update(opt, params):
        optimizer = optax.with_extra_args_support(optax.lbfgs())
        value, grad = jax.value_and_grad(loss)(params)
        return optimizer.update(grad, opt, params, value=value, grad=grad, value_fn=loss)

    if spec.optimizer != "lbfgs":
        return 0
    batched = jax.jit(jax.vmap(update))
    return loops(batched.lower(many(one.opt), many(one.params)).as_text())


def loops_of_features(spec):
    """The loops of the expansion, which goes from output to output, and of its gradient."""
    if spec.objective != "exact_sparse":
        return 0
    n, m, loss = spec.n_features, spec.n_hidden, partial(expansion.expansion, order=spec.order)
    shapes = [(n, m), (n,), (n,), (n,)]
    one = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
    sloped = jax.jit(jax.vmap(jax.value_and_grad(loss, argnums=(0, 1))))
    return loops(sloped.lower(*many(one)).as_text())


@each_spec
def test_training_is_in_full_precision_and_loops_over_steps_alone(spec):
    text = advance(spec)
    assert products(text)
    assert short_products(text) == []
    assert foreign_calls(text) == set()
    assert loops(text) == 1 + loops_of_updates(spec) + loops_of_features(spec)


@each_spec
def test_models_begin_without_a_loop_or_a_call(spec):
    text = start(spec)
    assert (loops(text), foreign_calls(text), short_products(text)) == (0, set(), [])


@each_spec
def test_judging_is_in_full_precision_and_stays_on_the_device(spec):
    text = judge(spec, tuple(metrics.METRICS))
    assert products(text)
    assert short_products(text) == []
    assert foreign_calls(text) == set()


def test_judging_on_samples_loops_over_batches_alone():
    assert loops(judge(make_spec(n_features=20, n_hidden=5))) == 1


def test_drawing_has_no_loop_and_a_drawn_loop_is_seen():
    def text(impl):
        key = jax.random.key(0, impl=impl)
        drawn = jax.jit(lambda key: jax.random.bits(key, (5, 64))).trace(key)
        return drawn.lower(lowering_platforms=("cpu",)).as_text()

    assert loops(text(rng.THREEFRY)) == 0
    assert loops(text("threefry2x32")) >= 1  # JAX's own, rolled on a CPU


def test_a_product_at_default_precision_is_seen(monkeypatch):
    monkeypatch.setattr(train, "full_precision", contextlib.nullcontext)
    assert short_products(advance(make_spec(batch_size=65)))


def test_a_call_back_to_python_is_seen():
    def asked(x):
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float32), x)

    assert foreign_calls(jax.jit(asked).lower(jnp.float32(1)).as_text())
