"""The floor: what the arithmetic alone would cost on this machine, were each part at its best.

A step of one model needs B*n random words and five products of B*n*m multiply-adds (the
hidden layer, the output, and three for the gradient). The floor takes the first at the rate of
the unrolled Threefry and the second at the rate of the best batched product at hand,
one after the other. A program that overlaps them, or needs fewer products, can pass it.
"""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from timing import fastest
from torch_trainer import TorchMissingError, load_torch

if TYPE_CHECKING:
    from superposition_cli.bench import Workload

FLOP_PER_WORD = 10  # five products, a multiply and an add each, times m
TRIAL_BYTES = (1 << 20, 1 << 25)  # x of a trial product: within a cache, and all models at once


class Floor(NamedTuple):
    """Milliseconds per step of all models, and the rates they come from."""

    total_ms: float
    random_ms: float
    product_ms: float
    words_per_second: float
    flop_per_second: float
    best_product: str


def floor_of(workload: "Workload", words_rate: float, flop_rate: float, product: str) -> Floor:
    """Turn two rates into milliseconds: B n K words, then 10 B n m K operations."""
    words = workload.batch_size * workload.n_features * workload.models
    random_ms = 1e3 * words / words_rate
    product_ms = 1e3 * FLOP_PER_WORD * words * workload.n_hidden / flop_rate
    return Floor(random_ms + product_ms, random_ms, product_ms, words_rate, flop_rate, product)


def threefry_rate(seconds: float = 0.2, models: int = 16, n: int = 64, batch: int = 1024) -> float:
    """Random words per second of the unrolled Threefry: the best of three cheap consumers."""
    import jax
    import jax.numpy as jnp

    from superposition_cli.toy import rng

    keys = jax.random.split(rng.key(0), models)
    consumers: tuple[Callable, ...] = (
        lambda key: jax.random.bits(key, (n, batch)),
        lambda key: jnp.sum(jax.random.bits(key, (n, batch)), axis=0),
        lambda key: jnp.sum(jax.random.bits(key, (n, batch)), axis=1),
    )
    best = min(_fastest_jax(jax.jit(jax.vmap(use)), (keys,), seconds) for use in consumers)
    return models * n * batch / best


def _fastest_jax(function: Callable, arguments: tuple, seconds: float) -> float:
    return fastest(lambda: function(*arguments).block_until_ready(), seconds)


def trial_models(workload: "Workload", limit: int) -> int:
    """How many models fit when their x [K, n, B] in float32 may take `limit` bytes."""
    one = 4 * workload.n_features * workload.batch_size
    return max(1, min(workload.models, limit // one))


def product_rate(workload: "Workload", seconds: float = 0.05) -> tuple[float, str]:
    """Return operations per second of the best batched product of this shape, and its name.

    Candidates: W^T x, W h and x h^T, in JAX, PyTorch (where installed) and NumPy, with a
    cache-sized group of models and with as many as 32 MiB hold.
    """
    best, name = 0.0, "none"
    for models in sorted({trial_models(workload, limit) for limit in TRIAL_BYTES}):
        flop = 2 * models * workload.n_features * workload.n_hidden * workload.batch_size
        for candidate, call in _products(workload, models):
            rate = flop / fastest(call, seconds)
            if rate > best:
                best, name = rate, f"{candidate}, {models} at a time"
    return best, name


def _operands(workload: "Workload", models: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Left and right operands [K, rows, inner], [K, inner, columns] of the three products."""
    generator = np.random.default_rng(0)
    n, m, batch = workload.n_features, workload.n_hidden, workload.batch_size
    sizes = {"encode": (m, n, batch), "decode": (n, m, batch), "gradient": (n, batch, m)}

    def draw(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32)

    return {
        kind: (draw(models, rows, inner), draw(models, inner, columns))
        for kind, (rows, inner, columns) in sizes.items()
    }


def _products(workload: "Workload", models: int) -> Iterator[tuple[str, Callable[[], object]]]:
    import jax
    import jax.numpy as jnp

    multiply = jax.jit(jnp.matmul)
    try:
        torch = load_torch()
    except TorchMissingError:
        torch = None
    for kind, (left, right) in _operands(workload, models).items():
        device = (jnp.asarray(left), jnp.asarray(right))
        yield f"jax {kind}", lambda pair=device: multiply(*pair).block_until_ready()
        out = np.matmul(left, right)
        if math.prod(out.shape) <= 1 << 21:  # numpy loops over models one by one
            yield f"numpy {kind}", lambda a=left, b=right, out=out: np.matmul(a, b, out=out)
        if torch is not None:
            pair = (torch.from_numpy(left), torch.from_numpy(right))
            yield f"torch {kind}", lambda pair=pair: torch.bmm(*pair)


def measure(workloads: "list[Workload]") -> dict[str, Floor]:
    """Measure both rates and return the floor of each workload by name."""
    words_rate = threefry_rate()
    return {w.name: floor_of(w, words_rate, *product_rate(w)) for w in workloads}
