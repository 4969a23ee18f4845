"""Features and neurons: embeddings made by hand, and data drawn."""

import numpy as np
import pytest

from superposition_cli import config
from superposition_cli.analyses import basis as module
from superposition_cli.running import grid

TEXT = """\
name: hand_made
model: {n_features: 6, n_hidden: 4}
data: {feature_probability: 0.3}
"""
# Neuron 0 serves feature 0; neurons 1 and 2 share features 1 to 3, equally strong, with signs
# that keep them apart; neuron 3 is dead.
SHARED = np.zeros((6, 4))
SHARED[0, 0] = 1
SHARED[1:4, 1], SHARED[1:4, 2] = 0.8, (0.8, -0.8, 0.8)


def measured(W, *overrides):
    experiment = config.loads(TEXT, "hand.yaml", overrides)
    return module.measure(grid.plan(experiment, lambda spec, n: n).setting(0), W)


def test_neurons_are_counted_by_their_features():
    row = module.row(measured(SHARED))
    assert (row["serving_1"], row["serving_3"], row["dead"]) == (1, 2, 1)
    assert row["serving_2"] == row["serving_more"] == 0
    assert row["represented"] == 4
    assert row["features_per_neuron"] == pytest.approx((1 + 3 + 3) / 3)
    # Feature 0 is on one neuron, three features are at 45 degrees between two.
    assert row["alignment"] == pytest.approx((1 + 3 / np.sqrt(2)) / 4)
    # Features 1 and 3 coincide, W_1·W_3 = 1.28 with norm² 1.28: (Ŵ_1·W_3)² = 1.28, twice.
    # The metric adds 1e-5 to a norm of 1.13, which takes 1.8e-5 off the square.
    assert row["interference"] == pytest.approx(2 * 1.28, rel=2e-5)


def test_dedicated_features_rotated_are_polysemantic_and_not_in_superposition():
    W = np.eye(6, 4)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    plain, turned = module.row(measured(W)), module.row(measured(W @ turn))
    assert (plain["serving_1"], plain["alignment"], plain["alignment_above"]) == (4, 1, 1)
    assert turned["interference"] == pytest.approx(0, abs=1e-12)
    assert turned["features_per_neuron"] == pytest.approx(np.mean(1 / (turn**4).sum(0)))
    assert turned["features_per_neuron"] > 1.5 < plain["features_per_neuron_null"]
    assert plain["alignment_null"] < 0.95


def test_kurtosis_of_drawn_hidden_vectors():
    generator, count = np.random.default_rng(0), 400_000
    x = generator.uniform(size=(6, count)) * (generator.uniform(size=(6, count)) < 0.3)
    W = generator.normal(size=(6, 4))
    h = W.T @ x
    h -= h.mean(1, keepdims=True)
    drawn = (h**4).mean(1) / (h**2).mean(1) ** 2
    # The spread of h⁴ / var² is about sqrt(E h⁸) / var² < 15: five standard errors.
    assert measured(W)["kurtosis"] == pytest.approx(drawn, abs=5 * 15 / np.sqrt(count))


def test_kurtosis_is_for_independent_features_and_live_neurons():
    found = measured(SHARED)
    assert np.isfinite(found["kurtosis"]).tolist() == [True, True, True, False]
    tied = measured(SHARED, "data.kind=correlated", "data.sets=[[0, 1, 2, 3, 4, 5]]")
    assert np.isnan(tied["kurtosis"]).all()
    assert module.row(tied)["kurtosis"] is None
    # All features equal: 3 + κ₄/σ⁴ / PR; at p = 1 κ₄ = -1/120, σ² = 1/12: 3 - 1.2 / PR.
    dense = measured(SHARED, "data.feature_probability=1.0")["kurtosis"]
    assert dense[:3] == pytest.approx([1.8, 2.6, 2.6])


def test_nothing_represented():
    row = module.row(measured(np.zeros((6, 4))))
    assert row["features_per_neuron"] is row["alignment"] is row["kurtosis"] is None
    assert (row["dead"], row["serving_1"], row["represented"]) == (4, 0, 0)
