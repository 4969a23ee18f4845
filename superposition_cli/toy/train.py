"""The training loop: one step of one model, `vmap` over models, one scan over steps."""

import os
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.stages import Compiled, Lowered, Wrapped

from superposition_cli.toy import models, rng
from superposition_cli.toy.objectives import OBJECTIVES
from superposition_cli.toy.rng import Use
from superposition_cli.toy.spec import Knobs, Params, Spec, State

VECTOR_WIDTH = "xla_cpu_prefer_vector_width"  # in bits; the compiler's own choice is 256
PROGRAM_OPTIONS: dict[str, str | bool] = {"xla_cpu_multi_thread_eigen": False}  # see devices
if VECTOR_WIDTH not in os.environ.get("XLA_FLAGS", ""):
    PROGRAM_OPTIONS[VECTOR_WIDTH] = "512"  # where a processor has no such vectors, nothing changes

TSpec = TypeVar("TSpec", bound=Spec)
TKnobs = TypeVar("TKnobs")  # the traced settings, a NamedTuple of arrays
Snapshots = Mapping[str, Array | np.ndarray]  # as a segment leaves them, or before the first


class Task(NamedTuple, Generic[TSpec, TKnobs]):
    """What is trained: how it begins and what it descends.

    init: (spec, knobs, key) -> params; the key is consumed.
    objective: (spec, knobs, key, t, params) -> loss at step t; the key is consumed.
    training: (knobs) -> the `Knobs` that optimiser and learning rate are read from.
    """

    init: Callable[[TSpec, TKnobs, Array], Params]
    objective: Callable[[TSpec, TKnobs, Array, Array, Params], Array]
    training: Callable[[TKnobs], Knobs]


class Segment(NamedTuple):
    """What a stretch of training leaves behind for K models over T steps."""

    state: State
    loss: Array  # [T, K], the loss on each step's batch before its update
    snapshots: Params  # [S + 1, K, ...], parameters before the steps to keep, then scratch


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
    task: Task[TSpec, TKnobs], spec: TSpec, knobs: TKnobs, key: Array, t: Array, state: State
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
        judged = jax.random.fold_in(root, Use.ALL_RESTARTS)
        return jax.random.fold_in(root, restart), jax.random.fold_in(judged, Use.EVALUATION)

    return jax.vmap(one)(seed, words, shared, restart)


def start(task: Task[TSpec, TKnobs], spec: TSpec, knobs: TKnobs, keys: Array) -> State:
    """Initialise K models, each from its own key, by one program for each task, spec and K.

    Args:
        task: what is trained.
        spec: what the program is compiled for, its dtype among it.
        knobs: the traced settings, [K, ...].
        keys: the models' own keys, [K]; their `Use.INIT` is consumed.

    Returns:
        Parameters, the optimiser's memory and no finite steps, [K, ...].

    Raises:
        KeyError: the model, its initialisation or the optimiser is in no table.
    """
    with jax.enable_x64(spec.dtype == "float64"):
        state: State = compiled(_start, (task, spec), knobs, keys)
    return state


@partial(jax.jit, static_argnums=(0, 1))
def _start(task: Task[TSpec, TKnobs], spec: TSpec, knobs: TKnobs, keys: Array) -> State:
    def one(knobs: TKnobs, key: Array) -> State:
        params = task.init(spec, knobs, jax.random.fold_in(key, Use.INIT))
        own = task.training(knobs)
        opt = OPTIMIZERS[spec.optimizer](own, own.learning_rate).init(params)
        return State(params, opt, jnp.zeros((), jnp.int32))

    return jax.vmap(one)(knobs, keys)


def run(
    task: Task[TSpec, TKnobs],
    spec: TSpec,
    knobs: TKnobs,
    keys: Array,
    state: State,
    steps: Iterable[int],
    keep: Iterable[int] = (),
    snapshots: Snapshots | None = None,
) -> Segment:
    """Advance K models through some steps: the only way into the training loop.

    One program for each task, spec, K, number of steps and number of steps to keep. Where
    training is cut into segments does not change a bit of it.

    Args:
        task: what is trained.
        spec: what the program is compiled for, its dtype among it.
        knobs: the traced settings, [K, ...].
        keys: the models' own keys, [K]; `Use.DATA`, then t of each step, is consumed.
        state: where the models are before the first of the steps; its buffers are consumed.
        steps: the numbers of T steps, ascending.
        keep: the S steps of the whole training before which parameters are kept.
        snapshots: what the segment before kept of the same `keep`; its buffers are consumed.

    Returns:
        The state after the last step, the losses [T, K], and the snapshots, in which rows of
        steps that have not come yet are zero; `kept` leaves scratch out.

    Raises:
        ValueError: the snapshots are not as many as the steps to keep, and scratch.
    """
    numbers, keep = np.fromiter(steps, np.int32), list(keep)
    with jax.enable_x64(spec.dtype == "float64"):
        room = empty_snapshots(state.params, keep) if snapshots is None else snapshots
        if {len(leaf) for leaf in room.values()} != {len(keep) + 1}:
            raise ValueError(f"the snapshots are not of {len(keep)} steps, and scratch")
        arrays = (numbers, _slots(numbers, keep), knobs, keys, state, room)
        segment: Segment = compiled(_advance, (task, spec), *arrays, options=PROGRAM_OPTIONS)
    return segment


def empty_snapshots(params: Params, keep: Collection[int]) -> dict[str, np.ndarray]:
    """Return what snapshots of S steps to keep begin as: zeros, [S + 1, K, ...]."""
    rows = len(keep) + 1
    return {name: np.zeros((rows, *leaf.shape), leaf.dtype) for name, leaf in params.items()}


def kept(snapshots: Snapshots) -> dict[str, np.ndarray]:
    """Return snapshots without scratch: [S + 1, K, ...] -> [S, K, ...]."""
    return {name: np.asarray(leaf)[:-1] for name, leaf in snapshots.items()}


def _slots(steps: np.ndarray, keep: Collection[int]) -> np.ndarray:
    """The row [T] that the parameters before a step go to: the last where none is to be kept."""
    slots = np.full(len(steps), len(keep), np.int32)
    for row, step in enumerate(keep):
        slots[steps == step] = row
    return slots


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=(6, 7))
def _advance(
    task: Task[TSpec, TKnobs],
    spec: TSpec,
    steps: Array,
    slots: Array,
    knobs: TKnobs,
    keys: Array,
    state: State,
    snapshots: Params,
) -> Segment:
    """Advance K models; before a step their parameters are written to its slot [T]."""
    data_keys = jax.vmap(partial(jax.random.fold_in, data=Use.DATA))(keys)
    one = partial(step, task, spec)

    def body(carry: tuple[State, Params], now: tuple[Array, Array]) -> tuple:
        state, snapshots = carry
        t, slot = now
        keep = partial(jax.lax.dynamic_update_index_in_dim, index=slot, axis=0)
        snapshots = jax.tree.map(lambda rows, row: keep(rows, row), snapshots, state.params)
        state, loss = jax.vmap(one, in_axes=(0, 0, None, 0))(knobs, data_keys, t, state)
        return (state, snapshots), loss

    loss: Array
    (state, snapshots), loss = jax.lax.scan(body, (state, snapshots), (steps, slots))
    return Segment(state, loss, snapshots)


def full_precision() -> AbstractContextManager[None]:
    """Return a context in which products of float32 matrices are of float32 on any device.

    An accelerator takes shorter numbers unless told otherwise; on a CPU it changes nothing.
    """
    return jax.default_matmul_precision("highest")


def default_device() -> jax.Device | str | None:
    """Return what this thread has for a default device: none, a device or a platform's name."""
    chosen: jax.Device | str | None = jax.config.jax_default_device  # type: ignore[attr-defined]
    return chosen


_programs: dict[Hashable, Compiled] = {}
_compiling = threading.Lock()


def compiled(
    function: Wrapped,
    static: tuple[Hashable, ...],
    *arrays: Any,
    options: dict[str, str | bool] | None = None,
) -> Any:
    """Call a jitted function, compiling it once even when several threads ask at once.

    Products of matrices have `full_precision`; it runs on the thread's default device, of which
    each has a program of its own. Where shapes alone are asked for, as by
    `jax.eval_shape`, nothing is compiled. options are the compiler's, one set for a function.
    """
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arrays)):
        return function(*static, *arrays)
    return program(function, static, *arrays, options=options)(*arrays)


def program(
    function: Wrapped,
    static: tuple[Hashable, ...],
    *arrays: Any,
    options: dict[str, str | bool] | None = None,
) -> Compiled:
    """Return the program that `compiled` calls, for arrays or for their shapes alone."""
    shapes = tuple((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays))
    signature = (function, static, shapes, default_device())
    with _compiling:
        if signature not in _programs:
            _programs[signature] = lowered(function, static, *arrays).compile(options)
    return _programs[signature]


def lowered(
    function: Wrapped,
    static: tuple[Hashable, ...],
    *arrays: Any,
    platforms: tuple[str, ...] | None = None,
) -> Lowered:
    """Return what `program` compiles, for this thread's device or for platforms by name."""
    with full_precision():
        return function.trace(*static, *arrays).lower(lowering_platforms=platforms)


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

TOY: Task[Spec, Knobs] = Task(
    lambda spec, *at: models.MODELS[spec.model].init(spec, *at),
    lambda spec, *at: OBJECTIVES[spec.objective].loss(spec, *at),
    lambda knobs: knobs,
)
