"""The expected loss without sampling: patterns, their probabilities, and the three objectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_knobs, make_spec

from superposition_cli.theory import expansion
from superposition_cli.toy import data, objectives, patterns, rng, train

SETS = ((0, 3), (1, 2, 4))
LAWS = {
    **{law: make_spec(data=law, sets=SETS) for law in data.SAMPLERS},
    "arena": make_spec(data="anticorrelated", sets=SETS, anticorrelated_marginal="arena"),
}
each_law = pytest.mark.parametrize("law", LAWS)


def params(seed, n=5, m=2):
    draw = np.random.default_rng(seed).normal
    return {"W": jnp.asarray(draw(size=(n, m)) * 0.8), "b": jnp.asarray(draw(size=n) * 0.2)}


# Independent: 2^5. Sets on or off: 2^2. One member of each or none: (2+1)(3+1). One-hot: 5.
COUNTS = {"uniform": 32, "correlated": 4, "anticorrelated": 12, "arena": 12, "one_hot": 5}


@each_law
def test_every_pattern_that_can_occur_is_listed(law):
    assert len(patterns.masks(LAWS[law])) == COUNTS[law]


@each_law
def test_probabilities_add_up_and_give_the_marginals(law):
    spec, knobs = LAWS[law], make_knobs()
    mask, chance = patterns.patterns(spec, knobs)
    assert np.sum(chance) == pytest.approx(1, abs=1e-6)
    marginal = np.asarray(chance) @ mask
    assert marginal == pytest.approx(
        np.asarray(data.SAMPLERS[spec.data].marginal(spec, knobs)), abs=1e-6
    )


@each_law
@pytest.mark.parametrize("model", ["relu_output", "relu_hidden"])
def test_expected_loss_is_the_mean_of_many_samples(law, model):
    spec = make_spec(**{**vars(LAWS[law]), "model": model, "batch_size": 400_000})
    knobs = make_knobs(high=1.5)
    own = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params(3))
    x = data.SAMPLERS[spec.data].draw(spec, knobs, rng.key(1), spec.batch_size)
    losses = np.asarray(objectives.errors(spec, knobs, own, x)).sum(0)
    error = losses.std() / np.sqrt(len(losses))
    exact = float(objectives.expected_loss(spec, knobs, own))
    quadrature = abs(float(objectives.expected_loss(spec, knobs, own, finer=2)) - exact)
    assert abs(exact - losses.mean()) < 5 * error + 2 * quadrature
    assert quadrature < 0.01 * exact


def test_closed_forms_agree_with_quadrature_of_the_same_patterns(float64, monkeypatch):
    spec, knobs = make_spec(dtype="float64"), make_knobs("float64")
    chance = patterns.patterns(spec, knobs).chance
    mixed = objectives.expected_loss(spec, knobs, params(5))
    monkeypatch.setattr(objectives, "_closed_forms", lambda spec: None)
    whole = objectives._quadrature(spec, knobs, params(5), chance, 8)
    assert float(mixed) == pytest.approx(float(whole), rel=2e-3)


def test_exact_sparse_is_the_expansion_and_close_to_the_population_when_sparse(float64):
    knobs = make_knobs("float64", feature_probability=[0.01] * 5)
    spec = make_spec(dtype="float64", objective="exact_sparse", order=2)
    own = params(7)
    sparse = objectives.exact_sparse(spec, knobs, rng.key(0), 0, own)
    arguments = (own["W"], own["b"], knobs.importance, knobs.feature_probability)
    assert float(sparse) == pytest.approx(
        float(expansion.expansion(*arguments, order=2)), rel=1e-12
    )
    full = float(objectives.expected_loss(spec, knobs, own))
    assert 0 < full - float(sparse) < 1e-3 * full


@pytest.mark.parametrize(
    ("optimizer", "objective", "steps"),
    [("adam", "population", 400), ("lbfgs", "population", 60), ("lbfgs", "exact_sparse", 60)],
)
def test_training_without_noise_ends_at_a_minimum(optimizer, objective, steps):
    """Two equal features in one dimension at p = .1: an antipodal pair, loss 2 p^2 / 6."""
    spec = make_spec(
        n_features=2, n_hidden=1, objective=objective, optimizer=optimizer, steps=steps
    )
    one = make_knobs(
        feature_probability=[0.1] * 2, importance=[1.0] * 2, weight_decay=0.0, learning_rate=0.03
    )
    knobs = jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), one)
    keys = jax.vmap(lambda i: jax.random.fold_in(rng.key(0), i))(np.arange(8))
    state = train.start(train.TOY, spec, knobs, keys)
    end = train.run(train.TOY, spec, knobs, keys, state, range(steps))
    best = float(end.loss[-1].min())
    # Closed form with b = 0; learned biases gain at most 1 % at this density.
    assert 0.985 * 0.01 / 3 < best < 1.005 * 0.01 / 3
