"""How many hidden dimensions recover a sparse input exactly?

Compressed sensing with the embeddings of a run: non-negative inputs with k active features
are decoded from h = Wᵀx by l1 minimisation, and the share that comes back is held against
the statistical dimension. Meant for random embeddings (`steps: 0`) over n_hidden.
Source: see `sensing`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import decoders
from superposition_cli.running import grid
from superposition_cli.running.results import Results
from superposition_cli.theory import sensing
from superposition_cli.toy import train

ACTIVE = (2, 5, 10)  # k
SIGNALS = 32  # for each embedding and k
ITERATIONS = 800
EXACT = 1e-3  # relative error up to which an input is recovered
DECODERS = {"signed": False, "nonnegative": True}  # whether x >= 0 is known


def recovery(results: Results) -> Finding:
    """Return the share of recovered inputs over m and k, over all models of a cell.

    Rows: a decoder and a k, with m_50, the n_hidden at which half of the inputs come back
    (linear between cells; null where the share does not cross 1/2), m_10 and m_90, and
    theory, ψ(k/n) n. Arrays: m [cells], k [K], success [decoders, K, cells], theory
    [decoders, K].

    Raises `InvalidInput` unless the run sweeps n_hidden alone, in linear models.
    """
    m, n = check(results)
    order = np.argsort(m)
    ks = [k for k in ACTIVE if k < n]
    success = np.array(
        [[[_share(results, int(cell), k, known, int(m.max())) for cell in order] for k in ks]
         for known in DECODERS.values()]
    )  # fmt: skip
    theory = np.array(
        [
            [n * float(sensing.statistical_dimension(k / n, known)) for k in ks]
            for known in DECODERS.values()
        ]
    )
    rows: list[Row] = []
    for d, decoder in enumerate(DECODERS):
        for i, k in enumerate(ks):
            crossed = {
                f"m_{100 * share:g}": crossing(m[order], success[d, i], share)
                for share in (0.1, 0.5, 0.9)
            }
            rows.append({"decoder": decoder, "k": k, **crossed, "theory": theory[d, i]})
    arrays = {"m": m[order], "k": np.array(ks), "success": success, "theory": theory}
    return Finding({"cells": len(m), "models": results.plan.n_models}, tuple(rows), arrays)


def check(results: Results) -> tuple[np.ndarray, int]:
    """Return m [cells] and n of a run; `InvalidInput` where it is not about n_hidden alone."""
    experiment = results.plan.experiment
    if [axis.names for axis in experiment.axes] != [("model.n_hidden",)]:
        raise InvalidInput("recovery needs a sweep over model.n_hidden and no other axis")
    setting = results.plan.setting(0)
    if setting.model.kind != "linear":
        raise InvalidInput(f"recovery is for linear, not {setting.model.kind}")
    settings = [results.plan.setting(cell) for cell in range(experiment.n_cells)]
    return np.array([one.model.n_hidden for one in settings]), setting.model.n_features


def crossing(m: np.ndarray, success: np.ndarray, share: float) -> float | None:
    """Return the m at which `success` [M] first reaches a share, m [M] ascending."""
    above = np.flatnonzero(success >= share)
    if not len(above) or above[0] == 0:
        return None
    high = int(above[0])
    low = high - 1
    part = (share - success[low]) / (success[high] - success[low])
    return float(m[low] + part * (m[high] - m[low]))


def _share(results: Results, cell: int, k: int, nonnegative: bool, widest: int) -> float:
    """The share of inputs with k active features that come back, over a cell's models."""
    first, restarts = cell * results.plan.restarts, results.plan.restarts
    W = np.stack([results.model(number)["W"] for number in range(first, first + restarts)])
    W = np.pad(W, ((0, 0), (0, 0), (0, widest - W.shape[2])))  # one program for all m
    root = train.model_keys(*grid.roots_of_one(results.plan.setting(cell)))[1][0]
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(root, k)))(jnp.arange(restarts))
    arrays = (np.int32(k), jnp.asarray(W, jnp.float32), keys)
    return float(np.mean(train.compiled(_recovered, (nonnegative,), *arrays)))


@partial(jax.jit, static_argnums=0)
def _recovered(nonnegative: bool, k: jax.Array, W: jax.Array, keys: jax.Array) -> Any:
    def one(W: jax.Array, key: jax.Array) -> jax.Array:
        x = sensing.sparse_inputs(key, SIGNALS, W.shape[0], k)
        solve = partial(decoders.basis_pursuit, W, nonnegative=nonnegative, iterations=ITERATIONS)
        found = jax.vmap(solve)(x @ W)
        return jnp.linalg.norm(found - x, axis=1) < EXACT * jnp.linalg.norm(x, axis=1)

    return jax.vmap(one)(W, keys)
