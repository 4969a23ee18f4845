"""Settings that tests start from, and a few models of a known kind."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superposition_cli.toy import train
from superposition_cli.toy.spec import Knobs, Spec, State

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


def make_spec(**changes):
    """A small Spec of five features in two dimensions, with some fields changed."""
    return replace(SPEC, **changes)


def make_knobs(dtype="float32", **changes):
    """The Knobs of one model of five features, with some fields changed."""
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


def advance(spec, knobs, keys, state, steps, wanted=()):
    """Train K models through `steps`, keeping the parameters before the wanted ones."""
    steps, wanted = np.asarray(steps, np.int32), list(wanted)
    slots = [wanted.index(t) if t in wanted else len(wanted) for t in steps]
    kept = jax.tree.map(lambda p: jnp.zeros((len(wanted) + 1, *p.shape), p.dtype), state.params)
    return resume(spec, knobs, keys, state, steps, slots, kept)


def resume(spec, knobs, keys, state, steps, slots, kept):
    """Train on, into snapshots begun before; the arguments stay usable."""
    steps, slots = np.asarray(steps, np.int32), np.asarray(slots, np.int32)
    fresh = jax.tree.map(jnp.array, (state, kept))
    segment = train.advance(spec, steps, slots, knobs, keys, State(*fresh[0]), fresh[1])
    return jax.tree.map(np.asarray, segment)


def trained(spec, knobs, keys, steps=20, wanted=()):
    """Start K models and train them for some steps."""
    return advance(spec, knobs, keys, train.start(spec, knobs, keys), range(steps), wanted)
