"""The training loop: one step of one model, `vmap` over models, one scan over steps."""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from superposition_cli.toy import models, rng
from superposition_cli.toy.objectives import OBJECTIVES
from superposition_cli.toy.spec import Knobs, Params, Spec, State

INIT, DATA, EVALUATION, ANALYSIS = range(4)  # what a model's key is folded with for each use
NO_RESTART = 2**32 - 1  # stands for the restart index in keys that all restarts share
VECTOR_WIDTH = "xla_cpu_prefer_vector_width"  # in bits; the compiler's own choice is 256
PROGRAM_OPTIONS: dict[str, bool | int] = {"xla_cpu_multi_thread_eigen": False}  # see devices
if VECTOR_WIDTH not in os.environ.get("XLA_FLAGS", ""):
    PROGRAM_OPTIONS[VECTOR_WIDTH] = 512  # where a processor has no such vectors, nothing changes


class Task(NamedTuple):
    """What is trained: how it begins and what it descends.

    init: (spec, knobs, key) -> params; the key is consumed.
    objective: (spec, knobs, key, t, params) -> loss at step t; the key is consumed.
    training: (knobs) -> the `Knobs` that optimiser and learning rate are read from.
    """

    init: Callable[[Any, Any, Array], Params]
    objective: Callable[[Any, Any, Array, Array, Params], Array]
    training: Callable[[Any], Knobs]


class Segment(NamedTuple):
    """What a stretch of training leaves behind for K models over T steps."""

    state: State
    loss: Array  # [T, K], the loss on each step's batch before its update
    snapshots: Params  # [S + 1, K, ...], parameters at the chosen steps; the last row is scratch


def schedule_constant(t: Array, steps: int) -> Array:
    """Return 1."""
    return jnp.ones_like(t, jnp.float32)


def schedule_linear(t: Array, steps: int) -> Array:
    """Return 1 - t/steps."""
    return 1 - jnp.asarray(t, float) / steps  # int32 / int would be float32 in float64 too


def schedule_cosine(t: Array, steps: int) -> Array:
    """Return cos(pi/2 t/(steps - 1)): from 1 at the first step to 0 at the last."""
    return jnp.cos(jnp.pi / 2 * t / max(steps - 1, 1))


def learning_rate(spec: Spec, knobs: Knobs, t: Array) -> Array:
    """Return the rate of step t: base * schedule * min(1, (t + 1) / warmup_steps)."""
    warmup = jnp.minimum(1, (t + 1) / jnp.maximum(knobs.warmup_steps, 1))
    return knobs.learning_rate * (SCHEDULES[spec.schedule](t, spec.steps) * warmup)


def adamw(knobs: Knobs, rate: Array) -> optax.GradientTransformation:
    """Adam with decoupled weight decay on every parameter."""
    return optax.adamw(
        rate,
        b1=knobs.momentum,
        b2=knobs.second_moment,
        eps=knobs.epsilon,
        weight_decay=knobs.weight_decay,
    )


def adam(knobs: Knobs, rate: Array) -> optax.GradientTransformation:
    """Adam; weight decay is added to the gradient."""
    return optax.chain(
        optax.add_decayed_weights(knobs.weight_decay),
        optax.adam(rate, b1=knobs.momentum, b2=knobs.second_moment, eps=knobs.epsilon),
    )


def sgd(knobs: Knobs, rate: Array) -> optax.GradientTransformation:
    """Gradient descent with heavy-ball momentum; weight decay is added to the gradient."""
    return optax.chain(
        optax.add_decayed_weights(knobs.weight_decay),
        optax.sgd(rate, momentum=knobs.momentum),
    )


def lbfgs(knobs: Knobs, rate: Array) -> optax.GradientTransformation:
    """Limited-memory BFGS with a zoom line search, for objectives without noise.

    The line search chooses the step; learning rate and schedule are not used.
    """
    return optax.lbfgs()


def step(
    task: Task, spec: Spec, knobs: Any, key: Array, t: Array, state: State
) -> tuple[State, Array]:
    """Advance one model by step t and return its loss on that step's batch.

    The batch is drawn from `fold_in(key, t)`; `key` is the model's data key.
    """
    objective = partial(task.objective, spec, knobs, jax.random.fold_in(key, t), t)
    loss, gradient = jax.value_and_grad(objective)(state.params)
    if spec.loss_reduction == "mean_features":
        gradient = jax.tree.map(lambda g: g / spec.n_features, gradient)
    own = task.training(knobs)
    chosen = OPTIMIZERS[spec.optimizer](own, learning_rate(spec, own, t))
    optimizer = optax.with_extra_args_support(chosen)
    searched = {"value": loss, "grad": gradient, "value_fn": objective}
    updates, opt = optimizer.update(gradient, state.opt, state.params, **searched)
    params = jax.tree.map(jnp.add, state.params, updates)
    sound = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)]
    finite = jnp.stack([jnp.isfinite(loss), *sound]).all()
    finite_steps = state.finite_steps + (finite & (state.finite_steps == t))
    return State(params, opt, finite_steps), loss


@jax.jit
def model_keys(seed: Array, words: Array, shared: Array, restart: Array) -> tuple[Array, Array]:
    """Return K models' own keys and the keys [K] of their evaluation batches.

    root = key(seed) folded with the two words of the cell's settings hash, unless its draws
    are shared, then with the restart index. All restarts of a cell are evaluated on one
    batch, so the evaluation key holds no restart index.
    """

    def one(seed: Array, words: Array, shared: Array, restart: Array) -> tuple[Array, Array]:
        common = jax.random.key(seed, impl=rng.THREEFRY)
        own = jax.random.fold_in(jax.random.fold_in(common, words[0]), words[1])
        root = jnp.where(shared, common, own)
        judged = jax.random.fold_in(root, jnp.uint32(NO_RESTART))
        return jax.random.fold_in(root, restart), jax.random.fold_in(judged, EVALUATION)

    return jax.vmap(one)(seed, words, shared, restart)


@partial(jax.jit, static_argnums=(0, 1))
def start(task: Task, spec: Spec, knobs: Any, keys: Array) -> State:
    """Initialise K models, each from its own key [K]."""

    def one(knobs: Any, key: Array) -> State:
        params = task.init(spec, knobs, jax.random.fold_in(key, INIT))
        own = task.training(knobs)
        opt = OPTIMIZERS[spec.optimizer](own, own.learning_rate).init(params)
        return State(params, opt, jnp.zeros((), jnp.int32))

    return jax.vmap(one)(knobs, keys)


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(6, 7), compiler_options=PROGRAM_OPTIONS)
def advance(
    task: Task,
    spec: Spec,
    steps: Array,
    slots: Array,
    knobs: Any,
    keys: Array,
    state: State,
    snapshots: Params,
) -> Segment:
    """Advance K models through the given steps [T].

    slots [T] says in which row of `snapshots` the parameters before a step are kept; rows
    that nobody wants share the last one.
    """
    data_keys = jax.vmap(partial(jax.random.fold_in, data=DATA))(keys)
    one = partial(step, task, spec)

    def body(carry: tuple[State, Params], now: tuple[Array, Array]) -> tuple:
        state, kept = carry
        t, slot = now
        keep = partial(jax.lax.dynamic_update_index_in_dim, index=slot, axis=0)
        kept = jax.tree.map(lambda buffer, value: keep(buffer, value), kept, state.params)
        state, loss = jax.vmap(one, in_axes=(0, 0, None, 0))(knobs, data_keys, t, state)
        return (state, kept), loss

    loss: Array
    (state, snapshots), loss = jax.lax.scan(body, (state, snapshots), (steps, slots))
    return Segment(state, loss, snapshots)


_programs: dict[Any, Any] = {}
_compiling = threading.Lock()


def compiled(function: Any, static: tuple[Any, ...], *arrays: Any) -> Any:
    """Call a jitted function, compiling it once even when several threads ask at once."""
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays))
    signature = (function, static, shapes)
    with _compiling:
        if signature not in _programs:
            with jax.default_matmul_precision("highest"):
                _programs[signature] = function.lower(*static, *arrays).compile()
    return _programs[signature](*arrays)


SCHEDULES: dict[str, Callable[[Array, int], Array]] = {
    "constant": schedule_constant,
    "linear": schedule_linear,
    "cosine": schedule_cosine,
}

OPTIMIZERS: dict[str, Callable[[Knobs, Array], optax.GradientTransformation]] = {
    "adamw": adamw,
    "adam": adam,
    "sgd": sgd,
    "lbfgs": lbfgs,
}

TOY = Task(
    lambda spec, *at: models.MODELS[spec.model].init(spec, *at),
    lambda spec, *at: OBJECTIVES[spec.objective].loss(spec, *at),
    lambda knobs: knobs,
)
