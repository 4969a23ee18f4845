"""Settings that tests start from, and a few models of a known kind."""

import contextlib
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import sp

from superposition_cli.commands import plugins
from superposition_cli.config import words
from superposition_cli.toy import train
from superposition_cli.toy.spec import Knobs, Spec

SETS = ((0, 3), (1, 4, 2))  # deliberately neither sorted nor of one size
SPEC = Spec(
    model="relu_output",
    n_features=5,
    n_hidden=2,
    data="uniform",
    sets=SETS,
    anticorrelated_marginal="paper",
    target="identity",
    zero_based=True,
    constant=False,
    objective="sampled",
    order=2,
    sparse_hidden=False,
    attacked=False,
    loss_reduction="sum_features",
    optimizer="adamw",
    schedule="constant",
    init="xavier_normal",
    batch_size=64,
    steps=20,
    eval_samples=4096,
    dtype="float32",
)
KNOBS = {
    "feature_probability": [0.3, 0.2, 0.2, 0.3, 0.2],
    "importance": [1.0, 0.9, 0.8, 0.7, 0.6],
    "low": 0.0,
    "high": 1.0,
    "learning_rate": 1e-2,
    "weight_decay": 1e-2,
    "warmup_steps": 0.0,
    "momentum": 0.9,
    "second_moment": 0.999,
    "epsilon": 1e-8,
    "init_instances": 1.0,
    "init_scale": 1.0,
    "hidden_l1": 0.0,
    "adversarial_norm": 0.0,
}


@pytest.fixture
def float64():
    """Run a test in double precision."""
    with jax.enable_x64(True):
        yield


@contextlib.contextmanager
def plugged(*files):
    """Take plug-ins in, and take back at the end what they have added."""
    owned = [getattr(door.home, table) for table, door in plugins.DOORS.items()]
    owned += [*words.TABLES.values(), words.LOADED]
    before = [dict(table) for table in owned]
    try:
        plugins.use(files)
        yield
    finally:
        for table, old in zip(owned, before, strict=True):
            table.clear()
            table.update(old)


def make_spec(**changes):
    """A small Spec of five features in two dimensions, with some fields changed."""
    return replace(SPEC, **changes)


def make_knobs(dtype="float32", **changes):
    """The Knobs of one model of five features, with some fields changed."""
    with jax.enable_x64(dtype == "float64"):
        return Knobs(**{name: jnp.asarray(x, dtype) for name, x in {**KNOBS, **changes}.items()})


def crossed(models, laws, *others):
    """Every combination; those away from the usual model and law are left to slow runs."""
    for model, law, *rest in itertools.product(models, laws, *others):
        usual = SPEC.model == model or SPEC.data == law
        yield pytest.param(model, law, *rest, marks=() if usual else pytest.mark.slow)


def stack(models):
    """Put the trees of K models together, K first."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *models)


def make_keys(count, seed=0, words=(3, 4)):
    """The own keys [K] of `count` restarts of one cell."""
    same = np.ones(count, np.uint32)
    cell = np.tile(np.array(words, np.uint32), (count, 1))
    return train.model_keys(seed * same, cell, same == 0, np.arange(count, dtype=np.uint32))[0]


def advance(spec, knobs, keys, state, steps, wanted=(), snapshots=None):
    """Train K models through `steps`, keeping the parameters before the wanted ones.

    Snapshots begun before are filled further; the arguments stay usable.
    """
    state, snapshots = jax.tree.map(jnp.array, (state, snapshots))
    segment = train.run(train.TOY, spec, knobs, keys, state, steps, wanted, snapshots)
    return jax.tree.map(np.asarray, segment)


def trained(spec, knobs, keys, steps=20, wanted=()):
    """Start K models and train them for some steps."""
    return advance(
        spec, knobs, keys, train.start(train.TOY, spec, knobs, keys), range(steps), wanted
    )


@pytest.fixture
def command(capsys, monkeypatch):
    """The command line in this process: words -> exit code, what it prints and what it says."""
    monkeypatch.setattr("signal.signal", lambda *_: None)
    return lambda *words: sp(capsys, monkeypatch, *words)
