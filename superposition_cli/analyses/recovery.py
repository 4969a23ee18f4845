"""How many hidden dimensions recover a sparse input exactly?

Compressed sensing with the embeddings of a run: non-negative inputs with k active features
are decoded from h = Wᵀx by l1 minimisation, and the share that comes back is held against
the statistical dimension. Meant for random embeddings (`steps: 0`) over n_hidden.
Source: see `sensing`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.measures import decoders
from superposition_cli.running.results import Results
from superposition_cli.theory import sensing
from superposition_cli.toy import train

ACTIVE = (2, 5, 10)  # k
SIGNALS = 32  # for each embedding and k
ITERATIONS = 800
SHARES = (10, 50, 90)  # percent of inputs
EXACT = 1e-3  # relative error up to which an input is recovered
DECODERS = {"signed": False, "nonnegative": True}  # whether x >= 0 is known


def recovery(results: Results) -> Finding:
    """Return the share of recovered inputs over m and k, over all models of a cell.

    A row is a decoder and a k. The m at which a share comes back is linear between cells, and
    null where the share is not crossed.
    """
    settings = selection.settings(results)
    m, n = np.array([one.model.n_hidden for one in settings]), settings[0].model.n_features
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
                f"m_{share}": crossing(m[order], success[d, i], share / 100) for share in SHARES
            }
            rows.append({"decoder": decoder, "k": k, **crossed, "theory": theory[d, i]})
    arrays = {"m": m[order], "k": np.array(ks), "success": success, "theory": theory}
    return Finding({"cells": len(m), "models": results.plan.n_models}, tuple(rows), arrays)


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
    _, root = selection.model_keys(results.plan.setting(cell))
    keys = jax.vmap(partial(jax.random.fold_in, jax.random.fold_in(root, k)))(jnp.arange(restarts))
    arrays = (np.int32(k), jnp.asarray(W, jnp.float32), keys)
    return float(np.mean(train.compiled(_recovered, (nonnegative,), *arrays)))


@partial(jax.jit, static_argnums=0)
def _recovered(nonnegative: bool, k: jax.Array, W: jax.Array, keys: jax.Array) -> jax.Array:
    def of_model(W: jax.Array, key: jax.Array) -> jax.Array:
        x = sensing.sparse_inputs(key, SIGNALS, W.shape[0], k)
        solve = partial(decoders.basis_pursuit, W, nonnegative=nonnegative, iterations=ITERATIONS)
        solved = jax.vmap(solve)(x @ W)
        return jnp.linalg.norm(solved - x, axis=1) < EXACT * jnp.linalg.norm(x, axis=1)

    return jax.vmap(of_model)(W, keys)


ANALYSIS = Analysis(
    question="How many hidden dimensions recover a sparse input exactly?",
    needs=(needs.sweeps_only(needs.HIDDEN), needs.among(needs.KIND, "linear")),
    runs_on="any",
    keys=Keys(
        numbers={"cells": Key("cells of the run"), "models": Key("models of the run")},
        rows={
            "decoder": Key("signed, or nonnegative where x >= 0 is known", "word"),
            "k": Key("active features of an input"),
            **{f"m_{share}": Key(f"m at which {share} % of inputs come back") for share in SHARES},
            "theory": Key("statistical dimension ψ(k/n) n"),
        },
        arrays={
            "m": Key("n_hidden, ascending", shape="[C]"),
            "k": Key("active features of an input", shape="[K]"),
            "success": Key("share of inputs that come back", shape="[decoders, K, C]"),
            "theory": Key("statistical dimension ψ(k/n) n", shape="[decoders, K]"),
        },
    ),
    compute=recovery,
)
