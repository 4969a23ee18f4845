"""Does a sparse autoencoder find the features in a model's hidden vectors?

Each cell's selected model is frozen. Autoencoders of n and of 2n latents learn its hidden
vectors at several prices of sparsity, `L1`; their dictionaries are compared with the
vectors of represented features and with random directions.
"""

from dataclasses import fields, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.config import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import sae
from superposition_cli.measures.sae import Measured, SaeKnobs, SaeSpec
from superposition_cli.running import grid
from superposition_cli.running.results import Results
from superposition_cli.toy import metrics, rng, train
from superposition_cli.toy.spec import Knobs, Params, State

L1 = (0.03, 0.1, 0.2, 0.3)
WIDTHS = (1, 2)  # latents by features
RESTARTS = 4
STEPS = 5_000
ROUNDS = 5  # dead latents are given new directions between them, not after the last
BATCH = 256
JUDGED = 16_384  # samples that an autoencoder is measured on
TRAINING = {
    "learning_rate": 3e-3,
    "weight_decay": 0.0,
    "warmup_steps": 0.0,
    "momentum": 0.9,
    "second_moment": 0.999,
    "epsilon": 1e-8,
}
RANDOM = 64  # dictionaries whose mean is the baseline
MEASURES = ("mmcs", "reverse_mmcs", "matched", "fvu", "l0", "dead_latents")


class Trained(NamedTuple):
    """The autoencoders of one model and width, K = prices x restarts, prices outermost."""

    dictionaries: np.ndarray  # [K, d, m]
    loss: np.ndarray  # [K], mean over the last tenth of the steps; inf where it diverged
    measured: Measured  # [K, ...]


def dictionary(results: Results) -> Finding:
    """Return what autoencoders recover of each cell's selected model.

    A row is a cell, a width and a price; its values are of the restart of least loss, which
    needs no knowledge of the features; mmcs_best and matched_best are the most of any restart.
    Cells without a selected model or a represented feature are left out.
    """
    rows: list[Row] = []
    curves: list[np.ndarray] = []
    baselines: list[list[float]] = []
    models = selection.selected(results, "dictionary")
    widths = [times * models[0].setting.model.n_features for times in WIDTHS]
    for model in models:
        W = np.asarray(model.params["W"])
        features = W[np.asarray(metrics.represented(jnp.asarray(W)))].astype(float)
        if not len(features):
            continue
        random = [sae.random_mmcs(features, latents, RANDOM) for latents in widths]
        baselines.append(random)
        for latents, baseline in zip(widths, random, strict=True):
            trained = fit(model.setting, W, latents)
            table = measures(trained, features)
            curves.append(np.array([[one[k] for one in table] for k in ("mmcs", "fvu", "l0")]))
            named = {**model.axes, "latents": latents}
            named["expected_l0"] = float(np.sum(model.setting.marginal()))
            rows += [
                {**named, "l1": l1, **chosen(table, trained.loss, i), "random_mmcs": baseline}
                for i, l1 in enumerate(L1)
            ]
    if not rows:
        raise InvalidInput("dictionary needs a selected model with a represented feature")
    shape = (len(baselines), len(widths), 3, len(L1), RESTARTS)
    mmcs, fvu, l0 = np.moveaxis(np.reshape(curves, shape), 2, 0)
    arrays = {"l1": np.array(L1), "latents": np.array(widths), "mmcs": mmcs, "fvu": fvu, "l0": l0}
    arrays["random_mmcs"] = np.array(baselines)
    return Finding(overall(rows), tuple(rows), arrays)


def fit(setting: Setting, W: np.ndarray, latents: int) -> Trained:
    """Train autoencoders of one width on one frozen embedding W [n, m], in float32.

    Adam at a constant rate begins anew in every round, after `sae.resample`.
    """
    spec, knobs, keys = program(setting, W, latents)
    of_round, samples = STEPS // ROUNDS, replace(spec, eval_samples=JUDGED)
    state = train.start(sae.TASK, spec, knobs, keys)
    state, loss, _ = train.run(sae.TASK, spec, knobs, keys, state, range(of_round))
    for number in range(1, ROUNDS):
        drawn = _folded(_folded(keys, rng.Use.RESAMPLING), number)
        params = train.compiled(_resample, (samples,), knobs, drawn, state.params)
        fresh = train.start(sae.TASK, spec, knobs, keys)
        state = State(params, fresh.opt, state.finite_steps)
        steps = range(number * of_round, (number + 1) * of_round)
        state, loss, _ = train.run(sae.TASK, spec, knobs, keys, state, steps)
    params = {name: np.asarray(leaf) for name, leaf in state.params.items()}
    measured = train.compiled(
        _measure, (samples,), knobs, _folded(keys, rng.Use.MEASUREMENT), params
    )
    mean = np.asarray(loss)[-STEPS // 10 :].mean(axis=0)
    sound = np.asarray(state.finite_steps) == STEPS
    dictionaries = np.asarray(jax.vmap(sae.directions)(params), float)
    return Trained(dictionaries, np.where(sound, mean, np.inf), jax.tree.map(np.asarray, measured))


def program(setting: Setting, W: np.ndarray, latents: int) -> tuple[SaeSpec, SaeKnobs, jax.Array]:
    """Return what trains K = prices x restarts autoencoders, prices outermost, of one model."""
    toy = grid.spec_of(setting)
    settled = {one.name: getattr(toy, one.name) for one in fields(toy)}
    settled |= {"optimizer": "adam", "schedule": "constant", "loss_reduction": "sum_features"}
    settled |= {"steps": STEPS, "batch_size": BATCH, "eval_samples": JUDGED, "dtype": "float32"}
    count = len(L1) * RESTARTS
    knobs = grid.knobs_of_one(setting, "float32")._replace(
        **{name: jnp.float32(value) for name, value in TRAINING.items()}
    )
    toys = Knobs(*(jnp.repeat(jnp.asarray(leaf)[None], count, axis=0) for leaf in knobs))
    prices = jnp.repeat(jnp.array(L1, jnp.float32), RESTARTS)
    weights = jnp.repeat(jnp.asarray(W, jnp.float32)[None], count, axis=0)
    root = jax.random.fold_in(selection.model_keys(setting)[0], rng.Use.ANALYSIS)
    restarts = jnp.arange(count, dtype=jnp.uint32) % RESTARTS
    keys = jax.vmap(partial(jax.random.fold_in, root))(restarts)
    return SaeSpec(**settled, latents=latents), SaeKnobs(toys, weights, prices), keys


def measures(trained: Trained, features: np.ndarray) -> list[Row]:
    """Return how each of K autoencoders does; dead_latents is a share of the latents."""
    table: list[Row] = []
    for k, directions in enumerate(trained.dictionaries):
        fires = trained.measured.fires[k]
        live = {"fvu": float(trained.measured.fvu[k]), "l0": float(trained.measured.l0[k])}
        live["dead_latents"] = float(np.mean(~fires))
        table.append({**sae.recovery(features, directions[fires]), **live})
    return table


def chosen(table: list[Row], loss: np.ndarray, price: int) -> Row:
    """Return the values of one price: of the restart of least loss, and the most of any."""
    restarts = slice(price * RESTARTS, (price + 1) * RESTARTS)
    some = table[restarts]
    least = some[int(np.argmin(loss[restarts]))]
    most = {f"{name}_best": max(one[name] for one in some) for name in ("mmcs", "matched")}
    return {**{name: least[name] for name in MEASURES}, **most}


def overall(rows: list[Row]) -> dict[str, float | int]:
    """Return the best over rows."""
    names = ("mmcs", "mmcs_best", "matched", "matched_best")
    return {
        "rows": len(rows),
        **{name: max(row[name] for row in rows) for name in names},
        "margin": max(row["mmcs_best"] - row["random_mmcs"] for row in rows),
        "l0_by_expected_least": min(row["l0"] / row["expected_l0"] for row in rows),
    }


def _folded(keys: jax.Array, number: int) -> jax.Array:
    return jax.vmap(partial(jax.random.fold_in, data=number))(keys)


@partial(jax.jit, static_argnums=0)
def _resample(spec: SaeSpec, knobs: SaeKnobs, keys: jax.Array, params: Params) -> Params:
    return jax.vmap(partial(sae.resample, spec))(knobs, keys, params)


@partial(jax.jit, static_argnums=0)
def _measure(spec: SaeSpec, knobs: SaeKnobs, keys: jax.Array, params: Params) -> Measured:
    return jax.vmap(partial(sae.measure, spec))(knobs, keys, params)


SHAPE = "[C, latents, l1, restarts]"
ANALYSIS = Analysis(
    question="Does a sparse autoencoder find the features in a model's hidden vectors?",
    needs=(needs.LINEAR_HIDDEN, needs.same(needs.FEATURES)),
    runs_on="any",
    keys=Keys(
        numbers={
            "rows": Key("rows of the finding"),
            "mmcs": Key("largest mmcs of a row"),
            "mmcs_best": Key("largest mmcs of any restart"),
            "matched": Key("largest matched of a row"),
            "matched_best": Key("largest matched of any restart"),
            "margin": Key("most by which mmcs_best exceeds random_mmcs in a row"),
            "l0_by_expected_least": Key("least l0 by expected_l0 of a row"),
        },
        rows={
            "latents": Key("latents of the autoencoder"),
            "expected_l0": Key("expected number of active features"),
            "l1": Key("price of sparsity"),
            "mmcs": Key("largest cosine of a feature with a live latent, mean over features"),
            "reverse_mmcs": Key(
                "largest cosine of a live latent with a feature, mean over latents"
            ),
            "matched": Key("share of features that a latent of their own points along"),
            "fvu": Key("fraction of variance unexplained"),
            "l0": Key("mean number of active latents"),
            "dead_latents": Key("share of latents that never fire"),
            "mmcs_best": Key("largest mmcs of any restart"),
            "matched_best": Key("largest matched of any restart"),
            "random_mmcs": Key("mmcs of random directions, their mean"),
        },
        arrays={
            "l1": Key("prices of sparsity", shape="[l1]"),
            "latents": Key("latents of the autoencoders", shape="[latents]"),
            "mmcs": Key("mmcs of every restart", shape=SHAPE),
            "fvu": Key("fvu of every restart", shape=SHAPE),
            "l0": Key("l0 of every restart", shape=SHAPE),
            "random_mmcs": Key("mmcs of random directions", shape="[C, latents]"),
        },
    ),
    compute=dictionary,
)
