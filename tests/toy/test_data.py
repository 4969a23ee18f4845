"""What the samplers draw, against their exact moments and against hand numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import SETS, make_knobs, make_spec
from scipy import stats

from superposition_cli.toy import data, rng

BATCH = 200_000
LAWS = [(name, marginal) for name in data.SAMPLERS for marginal in ("paper", "arena")]
RANGES = ((0.0, 1.0), (-1.0, 1.0), (0.0, 2.0), (0.5, 1.0))
SIGMAS = 5
# make_knobs has p = .3 in the pair of SETS and .2 in the triple. Of an anticorrelated set
# that is active with probability p each of k members has p/k: .3/2 = .15, .2/3.
PAIR_THEN_TRIPLE = {
    ("anticorrelated", "paper"): (0.15, 0.2 / 3),
    ("one_hot", "paper"): (1 / 5, 1 / 5),
    ("one_hot", "arena"): (1 / 5, 1 / 5),
}

draw = jax.jit(
    lambda spec, knobs, key, batch: data.SAMPLERS[spec.data].draw(spec, knobs, key, batch),
    static_argnums=(0, 3),
)


def law(name, marginal="paper", target="identity"):
    return make_spec(data=name, anticorrelated_marginal=marginal, target=target)


@functools.cache
def sample(name, marginal, low, high):
    """x [n, B] of a law, drawn once for all tests."""
    key = rng.key(100 * LAWS.index((name, marginal)) + RANGES.index((low, high)))
    return np.asarray(draw(law(name, marginal), make_knobs(low=low, high=high), key, BATCH))


def within(values, expected):
    """Hold the mean over the last axis to 5 of its own standard errors."""
    error = values.std(-1) / np.sqrt(values.shape[-1])
    assert (np.abs(values.mean(-1) - expected) <= SIGMAS * error + 1e-9).all()


@pytest.mark.parametrize("target", data.TARGETS)
@pytest.mark.parametrize("bounds", RANGES, ids=str)
@pytest.mark.parametrize("name", LAWS, ids="-".join)
def test_moments_of_the_target(name, bounds, target):
    y = np.asarray(data.TARGETS[target].answer(sample(*name, *bounds)), np.float64)
    knobs = make_knobs(low=bounds[0], high=bounds[1])
    mean, covariance = map(np.asarray, data.moments(law(*name, target), knobs))
    within(y, mean)
    within(y**2, np.diagonal(covariance) + mean**2)
    away = y - mean[:, None]
    for i in range(len(y)):
        within(away[i] * away, covariance[i])


@pytest.mark.parametrize("name", LAWS, ids="-".join)
def test_marginals_by_hand(name):
    pair, triple = PAIR_THEN_TRIPLE.get(name, (0.3, 0.2))
    expected = np.empty(5)
    expected[list(SETS[0])], expected[list(SETS[1])] = pair, triple
    active = sample(*name, 0.5, 1.0) != 0
    within(active.astype(float), expected)
    marginal = data.SAMPLERS[name[0]].marginal(law(*name), make_knobs())
    np.testing.assert_allclose(marginal, expected, rtol=1e-6)


@pytest.mark.parametrize("bounds", RANGES, ids=str)
@pytest.mark.parametrize("name", LAWS, ids="-".join)
def test_active_magnitudes_are_uniform(name, bounds):
    low, high = bounds
    for x in sample(*name, low, high):
        active = x[x != 0].astype(np.float64)
        assert active.min() >= low - 1e-6
        assert active.max() <= high + 1e-6
        assert stats.kstest(active, "uniform", (low, high - low)).pvalue > 1e-4


@pytest.mark.parametrize("name", data.SAMPLERS)
def test_rare_features_keep_their_law(name):
    knobs = make_knobs(feature_probability=[1e-3] * 5, low=0.5)
    x = np.asarray(draw(law(name), knobs, rng.key(1), BATCH), np.float64)
    within((x != 0).astype(float), data.SAMPLERS[name].marginal(law(name), knobs))
    assert stats.kstest(x[x != 0], "uniform", (0.5, 0.5)).pvalue > 1e-4


@pytest.mark.parametrize("name", data.SAMPLERS)
def test_certain_features_keep_their_law(name):
    knobs = make_knobs(feature_probability=[1.0] * 5, low=0.5)
    x = np.asarray(draw(law(name), knobs, rng.key(2), BATCH), np.float64)
    within((x != 0).astype(float), data.SAMPLERS[name].marginal(law(name), knobs))
    assert x.max() <= 1


def test_correlated_sets_are_active_all_or_none():
    active = sample("correlated", "paper", 0.5, 1.0) != 0
    for members in SETS:
        together = active[list(members)]
        assert (together.all(0) == together.any(0)).all()
        # U[.5, 1] has variance .25/12 = 1/48; independent magnitudes have covariance 0.
        x = sample("correlated", "paper", 0.5, 1.0)[list(members)][:2, together.all(0)] - 0.75
        within(x[0] * x[1], 0)
        within(x[0] ** 2, 1 / 48)


@pytest.mark.parametrize("marginal", ["paper", "arena"])
def test_anticorrelated_sets_have_one_active_feature_at_most(marginal):
    active = sample("anticorrelated", marginal, 0.5, 1.0) != 0
    for members in SETS:
        assert active[list(members)].sum(0).max() == 1


def test_one_hot_inputs_have_one_active_feature():
    assert (np.sum(sample("one_hot", "paper", 0.5, 1.0) != 0, 0) == 1).all()


def moments(name="uniform", marginal="paper", target="identity", **changes):
    return jax.tree.map(
        np.asarray, data.moments(law(name, marginal, target), make_knobs(**changes))
    )


def test_variance_of_one_feature_by_hand():
    # p/3 - p^2/4 at p = .1: 1/30 - 1/400 = .030833; at p = 1: 1/3 - 1/4 = 1/12.
    mean, covariance = moments(feature_probability=[0.1, 1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(mean[:2], [0.05, 0.5], rtol=1e-6)
    np.testing.assert_allclose(np.diagonal(covariance)[:2], [1 / 30 - 1 / 400, 1 / 12], rtol=1e-5)
    assert not (covariance - np.diag(np.diagonal(covariance))).any()


def test_moments_on_zero_to_two_by_hand():
    # Mean p, variance 4p/3 - p^2; at p = .3: .4 - .09 = .31.
    mean, covariance = moments(high=2.0)
    np.testing.assert_allclose(mean[0], 0.3, rtol=1e-6)
    np.testing.assert_allclose(covariance[0, 0], 0.31, rtol=1e-6)


def test_covariance_within_a_set_by_hand():
    # Correlated: p(1 - p)/4 = .3 * .7/4 = .0525. Anticorrelated: never together, so minus
    # the product of the means, -(.15/2)^2 = -.005625; with marginals p, -(.3/2)^2 = -.0225.
    a, b = SETS[0]
    assert moments("correlated").covariance[a, b] == pytest.approx(0.0525, rel=1e-5)
    assert moments("anticorrelated").covariance[a, b] == pytest.approx(-0.005625, rel=1e-5)
    assert moments("anticorrelated", "arena").covariance[a, b] == pytest.approx(-0.0225, rel=1e-5)


def test_one_hot_moments_by_hand():
    # q = 1/5: mean 1/10, variance 1/15 - 1/100, covariance -1/100.
    mean, covariance = moments("one_hot")
    np.testing.assert_allclose(mean, 0.1, rtol=1e-6)
    np.testing.assert_allclose(np.diagonal(covariance), 1 / 15 - 1 / 100, rtol=1e-5)
    np.testing.assert_allclose(covariance[0, 1:], -0.01, rtol=1e-5)


@pytest.mark.parametrize("name", data.SAMPLERS)
def test_absolute_value_of_a_symmetric_feature_has_the_positive_ones_moments(name):
    symmetric = moments(name, target="abs", low=-1.0)
    for ours, expected in zip(symmetric, moments(name), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-8)


def test_absolute_value_of_a_lopsided_feature_by_hand():
    # U[-1, 2]: E|v| = (1/2 + 2)/3 = 5/6 and E v^2 = (8 + 1)/9 = 1.
    first, second = data.TARGETS["abs"].moments(jnp.float32(-1), jnp.float32(2))
    assert float(first) == pytest.approx(5 / 6)
    assert float(second) == pytest.approx(1)


@pytest.mark.parametrize("name", data.SAMPLERS)
def test_batches_of_models_and_of_steps_are_independent(name):
    """Rows of x of two keys, and of two steps of one key, do not go together."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(rng.key(9), np.arange(3, dtype=np.uint32))
    spec, knobs = law(name), make_knobs(low=0.5)
    many = jax.jit(jax.vmap(lambda key: data.SAMPLERS[name].draw(spec, knobs, key, BATCH)))
    x = np.asarray(many(keys), np.float64) - np.asarray(data.moments(spec, knobs).mean)[:, None]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        for i in range(5):
            within(x[one, i] * x[other], 0)
    again = np.asarray(draw(spec, knobs, keys[1], BATCH), np.float64)
    mean = np.asarray(data.moments(spec, knobs).mean)[:, None]
    np.testing.assert_allclose(x[1] + mean, again, rtol=1e-6)
