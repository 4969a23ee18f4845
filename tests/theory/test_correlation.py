"""The cost of tied features: closed forms against sampling, covariances and each other."""

import helpers
import jax
import numpy as np
import pytest

from superposition_cli.running import grid
from superposition_cli.theory import correlation, linear
from superposition_cli.theory.phases import two_feature_losses
from superposition_cli.toy import data

SAMPLES = 400_000
PAIRS = """\
name: pairs
model: {n_features: 6, n_hidden: 3}
data: {kind: correlated, sets: [[0, 1], [2, 3], [4, 5]], feature_probability: 0.4}
"""


def sampled(W, active):
    """Mean and standard error of the loss at b = 0, with magnitudes in U[0, 1]: active [n, B]."""
    x = active * np.random.default_rng(1).random(active.shape)
    loss = ((x - np.maximum(W @ (W.T @ x), 0)) ** 2).sum(axis=0)
    return loss.mean(), loss.std() / np.sqrt(loss.size)


def activity(*probability):
    draws = np.random.default_rng(0).random((len(probability), SAMPLES))
    return draws < np.array(probability)[:, None]


@pytest.mark.parametrize("p", [0.3, 0.8])
def test_a_digon_costs_a_third_of_how_often_both_are_active(p):
    W = np.array([[1.0], [-1.0]])
    apart, together = activity(p, p), np.repeat(activity(p), 2, axis=0)
    for active, joint in ((apart, p * p), (together, p)):
        mean, error = sampled(W, active)
        assert abs(mean - correlation.digon_loss(joint)) < 5 * error
    never = np.stack([together[0], ~together[0]])
    assert sampled(W, never)[0] == correlation.digon_loss(0.0) == 0


def test_a_digon_of_independent_features_is_that_of_the_phase_diagram():
    # (1 + r) p²/6 with r = 1
    np.testing.assert_allclose(correlation.digon_loss(0.09), two_feature_losses(0.3, 1.0).digon)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_collapsed_set_loses_all_differences(size):
    W = np.full((size, 1), size**-0.5)
    mean, error = sampled(W, np.repeat(activity(0.3), size, axis=0))
    assert abs(mean - correlation.collapsed_loss(0.3, size)) < 5 * error + 1e-12


@pytest.mark.parametrize("n_hidden", [3, 2])
def test_collapsed_sets_are_the_best_linear_model(n_hidden):
    """With a dimension for each set; else the smallest first components are lost as well."""
    setting = helpers.plan(PAIRS, f"model.n_hidden={n_hidden}").setting(0)
    p = 0.4
    variance, covariance = p / 3 - p**2 / 4, p * (1 - p) / 4
    with jax.enable_x64(True):
        knobs = grid.knobs_of_one(setting, "float64")
        moments = data.moments(grid.spec_of(setting), knobs)
        best = linear.linear_optimum(np.ones(6), moments.covariance, n_hidden)
        kept = 3 * float(correlation.collapsed_loss(p, 2))
    assert best == pytest.approx(kept + (3 - n_hidden) * (variance + covariance), rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_opposite_collapsed_sets_lose_the_smaller_mean(size):
    W = np.repeat([[1.0], [-1.0]], size, axis=0) * size**-0.5
    mean, error = sampled(W, np.repeat(activity(0.4, 0.4), size, axis=0))
    assert abs(mean - correlation.opposite_loss(0.4, size)) < 5 * error


def test_opposite_sets_by_hand():
    # Of one feature each: the digon. Of two, the mean is triangular: E min² = 7/40, so that
    # p/6 + 4p² 7/40. Of three: 461/2520, by integrating cubics; 2 x 3 x 461/2520 = 1.0976.
    with jax.enable_x64(True):
        for size, square in ((1, 1 / 6), (2, 7 / 40), (3, 461 / 2520)):
            expected = (size - 1) * 0.05 / 6 + 2 * size * 0.05**2 * square
            assert float(correlation.opposite_loss(0.05, size)) == pytest.approx(expected)
        digon = correlation.digon_loss(0.3**2)
        assert float(correlation.opposite_loss(0.3, 1)) == pytest.approx(float(digon))


def test_the_boundary_is_where_both_arrangements_cost_the_same():
    assert float(correlation.collapse_boundary(2)) == 0.25
    with jax.enable_x64(True):
        for size in (2, 3, 10):
            p = correlation.collapse_boundary(size)
            digons = size * correlation.digon_loss(p * p)  # of two sets
            assert float(digons) == pytest.approx(2 * float(correlation.collapsed_loss(p, size)))
