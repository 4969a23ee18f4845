"""The second column: the program a JAX user writes first.

One model is a `lax.scan` over steps, the models are a `vmap` around it; a key is split at
every step, a batch is two `jax.random.uniform` draws, batch first (x [B, n]), and the
optimiser is `optax.adamw` with PyTorch's weight decay.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from timing import Timing, time_calls

if TYPE_CHECKING:
    from superposition_cli.bench import Workload

NAME = "obvious jax"
OPTIMIZER = optax.adamw(1e-3, weight_decay=1e-2)


def draw(key: jax.Array, shape: tuple[int, int], density: jax.Array) -> jax.Array:
    """Draw x [B, n]; the key is consumed."""
    active_key, value_key = jax.random.split(key)
    active = jax.random.uniform(active_key, shape) < density
    return jnp.where(active, jax.random.uniform(value_key, shape), 0.0)


def loss(params: dict[str, jax.Array], x: jax.Array, importance: jax.Array) -> jax.Array:
    """Mean over batch and features of importance times squared error."""
    hidden = x @ params["W"]
    output = jax.nn.relu(hidden @ params["W"].T + params["b"])
    return jnp.mean(importance * (x - output) ** 2)


def start(key: jax.Array, n_features: int, n_hidden: int) -> tuple[Any, Any, jax.Array]:
    """Initialise one model: parameters, optimiser state and the key it trains with."""
    init_key, train_key = jax.random.split(key)
    weights = jax.nn.initializers.glorot_normal()(init_key, (n_features, n_hidden))
    params = {"W": weights, "b": jnp.zeros(n_features)}
    return params, OPTIMIZER.init(params), train_key


def train(carry: Any, density: jax.Array, importance: jax.Array, batch: int, steps: int) -> Any:
    """Train one model; return what it carries and its losses [T]."""

    def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
        params, opt_state, key = carry
        key, batch_key = jax.random.split(key)
        x = draw(batch_key, (batch, importance.shape[0]), density)
        value, gradient = jax.value_and_grad(loss)(params, x, importance)
        updates, opt_state = OPTIMIZER.update(gradient, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state, key), value

    return jax.lax.scan(step, carry, None, length=steps)


def prepare(workload: "Workload", steps: int, seed: int = 0) -> tuple[Any, tuple[Any, ...]]:
    """Return the function that trains all models `steps` steps, and its arguments."""
    keys = jax.random.split(jax.random.key(seed), workload.models)
    carry = jax.vmap(lambda key: start(key, workload.n_features, workload.n_hidden))(keys)
    density = jnp.asarray(workload.feature_probability, jnp.float32)
    importance = jnp.asarray(workload.importance, jnp.float32)

    def all_models(carry: Any, density: jax.Array, importance: jax.Array) -> Any:
        one = lambda c, p, i: train(c, p, i, workload.batch_size, steps)  # noqa: E731
        return jax.vmap(one)(carry, density, importance)

    return all_models, (carry, density, importance)


def segment_steps(workload: "Workload") -> int:
    """Steps per timed call: enough that the call itself costs nothing, at least two."""
    numbers = workload.models * workload.n_features * workload.batch_size
    return max(2, min(100, 5_000_000 // numbers))


def timer(workload: "Workload") -> Callable[[float], Timing]:
    """Compile one segment of training; return what times segments for so many seconds.

    Every round goes on from where the one before stopped.
    """
    steps = segment_steps(workload)
    function, (carry, *fixed) = prepare(workload, steps)
    started = time.perf_counter()
    executable = jax.jit(function).lower(carry, *fixed).compile()
    compile_seconds = time.perf_counter() - started

    def segment() -> None:
        nonlocal carry
        carry, losses = executable(carry, *fixed)
        losses.block_until_ready()

    return lambda seconds: time_calls(segment, steps, seconds, compile_seconds)


def train_to_end(workload: "Workload", steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Train from scratch; return W [K, n, m] and b [K, n]."""
    function, arguments = prepare(workload, steps)
    (params, _, _), _ = jax.jit(function)(*arguments)
    return np.asarray(params["W"]), np.asarray(params["b"])
