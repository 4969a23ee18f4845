"""The expected loss without sampling: patterns, their probabilities, and the three objectives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_knobs, make_spec

from superposition_cli.theory import expansion
from superposition_cli.toy import data, evaluate, objectives, patterns, rng, train

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


def mean_of_samples(spec, knobs, own):
    """The mean loss of `spec.batch_size` samples by NumPy, and its standard error."""
    x = np.asarray(data.SAMPLERS[spec.data].draw(spec, knobs, rng.key(8), spec.batch_size))
    W, b = (np.asarray(own[name]) for name in ("W", "b"))
    h = W.T @ x
    h = np.maximum(h, 0) if spec.model == "relu_hidden" else h
    y = np.maximum(W @ h + b[:, None], 0)
    each = np.asarray(knobs.importance, float) @ (x - y) ** 2
    return each.mean(), each.std() / np.sqrt(spec.batch_size)


GROUPS = {
    "anticorrelated": ((0, 1, 2, 3), (4, 5), (6,), (7,), (8,)),
    "correlated": ((4, 1, 10, 3, 2), (0, 5, 6, 7), (8, 9, 11)),
}


@pytest.mark.parametrize("law", GROUPS)
@pytest.mark.parametrize("model", ["relu_output", "relu_hidden"])
@pytest.mark.parametrize("low", [0.0, 0.5, 1.2])
def test_many_features_of_few_patterns_have_the_mean_loss_of_a_million_samples(law, model, low):
    """Judged with an error that what it stands for is within."""
    n = sum(map(len, GROUPS[law]))
    forms = {"zero_based": low == 0, "constant": low == 1.2}
    spec = make_spec(
        data=law, sets=GROUPS[law], n_features=n, model=model, batch_size=1_000_000, **forms
    )
    p = (
        [0.6] * n
        if law == "anticorrelated"
        else [0.2 + 0.1 * (i in GROUPS[law][1]) for i in range(n)]
    )
    importance = np.linspace(1, 0.5, n)
    knobs = make_knobs(feature_probability=p, importance=importance, low=low, high=1.2)
    own = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params(9, n))
    mean, error = mean_of_samples(spec, knobs, own)
    judged = evaluate.evaluation_loss(spec, knobs, rng.key(0), own)
    assert float(judged.error) < 0.01 * mean
    assert float(judged.error) == 0 or not forms["constant"]
    assert abs(float(judged.loss) - mean) < 5 * error + float(judged.error)


@pytest.mark.parametrize("model", ["relu_output", "relu_hidden"])
def test_one_hot_inputs_of_one_are_the_unit_vectors(model, float64):
    """The expected loss is the mean over the eight of them, and has no error."""
    spec = make_spec(
        model=model, data="one_hot", n_features=8, zero_based=False, constant=True, dtype="float64"
    )
    importance = np.linspace(1, 0.3, 8)
    knobs = make_knobs("float64", feature_probability=[0.125] * 8, importance=importance, low=1)
    own = params(2, 8)
    W, b = np.asarray(own["W"]), np.asarray(own["b"])
    h = W.T if model == "relu_output" else np.maximum(W.T, 0)  # of the unit vectors
    expected = np.mean(importance @ (np.eye(8) - np.maximum(W @ h + b[:, None], 0)) ** 2)
    loss, error = evaluate.evaluation_loss(spec, knobs, rng.key(0), own)
    assert float(loss) == pytest.approx(expected, rel=1e-12)
    assert float(error) == 0
    # of each unit vector's 1/8: Σ I_i (1/8 - 1/64)
    null = float(objectives.null_loss(spec, knobs))
    assert null == pytest.approx(importance.sum() * 7 / 64, rel=1e-12)


def test_a_constant_pair_by_hand(float64):
    """W = (1/2, 0), b = (0, 1/4) on inputs of 1: e1 -> (1/4, 1/4), e2 -> (0, 1/4).

    Errors are 9/16 + 1/16 and 9/16: the mean is 19/32. Of independent features, on with p = 1/2,
    nothing -> (0, 1/4) costs 1/16 and both -> (1/4, 1/4) cost 18/16: the mean is 38/64.
    """
    own = {"W": jnp.array([[0.5], [0.0]]), "b": jnp.array([0.0, 0.25])}
    knobs = make_knobs("float64", feature_probability=[0.5] * 2, importance=[1.0] * 2, low=1)
    forms = {"n_features": 2, "n_hidden": 1, "zero_based": False, "constant": True}
    for law, expected in (("one_hot", 19 / 32), ("uniform", 38 / 64)):
        spec = make_spec(data=law, dtype="float64", **forms)
        loss = float(objectives.expected_loss(spec, knobs, own))
        assert loss == pytest.approx(expected, rel=1e-15)


@each_law
@pytest.mark.parametrize("value", [1.0, -0.7])
@pytest.mark.parametrize("target", data.TARGETS)
def test_constant_magnitudes_are_drawn_and_have_their_null_loss(law, value, target):
    forms = {"zero_based": False, "constant": True, "target": target, "batch_size": 400_000}
    spec = make_spec(**{**vars(LAWS[law]), **forms})
    knobs = make_knobs(low=value, high=value)
    x = np.asarray(data.SAMPLERS[spec.data].draw(spec, knobs, rng.key(3), spec.batch_size))
    assert set(np.unique(x)) == {0, np.float32(value)}
    y = np.abs(x) if target == "abs" else x
    off = np.asarray(knobs.importance, float) @ (y - y.mean(1, keepdims=True)) ** 2
    error = off.std() / np.sqrt(spec.batch_size)
    # one-hot features of different importance: the loss of each input varies, else nothing would
    assert abs(float(objectives.null_loss(spec, knobs)) - off.mean()) < 5 * error


def test_too_many_patterns_or_nodes_are_refused_before_they_are_listed():
    knobs = make_knobs(feature_probability=[0.5] * 30, importance=[1.0] * 30)
    tied = make_spec(data="correlated", sets=(tuple(range(30)),), n_features=30)
    for spec, said in ((make_spec(n_features=30), "over 524,288 act"), (tied, "1,073,741,824 nod")):
        assert not objectives.has_expected_loss(spec)
        with pytest.raises(ValueError, match=said):
            objectives.expected_loss(spec, knobs, params(0, 30))
