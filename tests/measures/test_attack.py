"""Attacks on digons, by hand, and a tiny run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_knobs, make_spec
from helpers import commanded, plan, refusal

from superposition_cli.analyses import adversarial as module
from superposition_cli.measures import attack

TINY = """\
name: tiny
model: {n_features: 6, n_hidden: 2}
data: {feature_probability: 0.3}
train: {optimizer: adam, learning_rate: 1e-2, steps: 60, batch_size: 64, restarts: 2}
sweep: {parameters: {data.feature_probability: [0.1, 1.0, 0.4]}}
"""
DIGON = ("model={n_features: 2, n_hidden: 1}", "data={kind: one_hot}")


def test_rows_of_the_products_are_directions():
    # M has the rows (1, -1, 0), (-1, 1, 0) and 0.
    W = jnp.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    half = 1 / np.sqrt(2)
    np.testing.assert_allclose(
        attack.directions(W), [[half, -half, 0], [-half, half, 0], [0, 0, 0]], atol=1e-7
    )


def test_an_attack_on_a_silent_digon_by_hand():
    """W = [1, -1], x = 0: a push of length L along (1, -1)/sqrt 2 makes h = sqrt 2 L, and one
    output of sqrt 2 L where 0 was right: the loss is 2 L^2. Nothing pushes the third feature.
    """
    spec = make_spec(n_features=3, n_hidden=1)
    params = {"W": jnp.array([[1.0], [-1.0], [0.0]]), "b": jnp.zeros(3)}
    knobs = make_knobs(importance=[1.0, 1.0, 1.0], feature_probability=[0.1] * 3)
    cost = attack.vulnerability(spec, knobs, params, jnp.zeros((3, 5)), jnp.float32(0.3))
    assert float(cost) == pytest.approx(2 * 0.3**2, rel=1e-6)


def test_the_worst_of_all_pushes_is_taken_input_by_input():
    """Two digons with importances 1, 4 and 2, 2. A push of length s/sqrt 2 moves h by s = .2 in
    the direction of one digon, so that one of its outputs rises or the other does:

        x               worst push                              loss before -> after
        0, 0, 0, 0      the second output rises to s            0 -> 4 s² = .16
        .5, .5, 0, 0    third or fourth rises to s; the first   1.25 -> 1.25 + 2 s² = + .08
                        and second are 0 and right to rise
        .5, 1, 0, 0     h = -.5 -> -.3: the second answers .3   .25 + 4 (.5)² -> .25 + 4 (.7)²
                        for 1                                   = + .96
        .5, .5, .5, .5  none: whatever rises is right to        + 0
    """
    spec = make_spec(n_features=4, n_hidden=2)
    knobs = make_knobs(importance=[1.0, 4.0, 2.0, 2.0], feature_probability=[0.1] * 4)
    params = {"W": jnp.array([[1.0, 0], [-1, 0], [0, 1], [0, -1]]), "b": jnp.zeros(4)}
    x = jnp.array([[0, 0, 0, 0], [0.5, 0.5, 0, 0], [0.5, 1, 0, 0], [0.5, 0.5, 0.5, 0.5]]).T
    costs = jax.jit(attack.vulnerability, static_argnums=0)
    length = jnp.float32(0.2 / np.sqrt(2))
    by_hand = [0.16, 0.08, 0.96, 0]
    for i, cost in enumerate(by_hand):
        found = costs(spec, knobs, params, x[:, i : i + 1], length)
        assert float(found) == pytest.approx(cost, abs=2e-6)  # ten roundings of 6e-8, below 3
    assert float(costs(spec, knobs, params, x, length)) == pytest.approx(1.2 / 4, abs=2e-6)


def test_an_attacked_digon_by_hand():
    """One of two opposite features is active: a push moves h by sqrt 2 λ and costs 2 λ², which
    is λ² by D_i = 1/2, for the dimension has two features. λ is a tenth of E x = 1/2.
    """
    setting = plan(TINY, "sweep=null", *DIGON).setting(0)
    row = module.measured(setting, {"W": np.array([[1.0], [-1.0]]), "b": np.zeros(2)})
    error = 5 * 0.1 * np.sqrt(1 / 12 / module.SAMPLES)  # five standard errors of the mean
    assert row["attack_length"] == pytest.approx(0.05, abs=error)
    # h is rounded by up to 6e-8 twice, the error sqrt 2 λ = .07 by 2e-6 of it, its square by 4e-6.
    assert row["vulnerability_scaled"] == pytest.approx(2, rel=1e-5)
    assert row["features_per_dimension"] == pytest.approx(2, rel=1e-6)
    assert row["inverse_dimensionality"] == pytest.approx(2, rel=1e-6)


def test_cells_are_compared_by_hand():
    # Deviations from the means 7/3 and 2: (-4, -1, 5)/3 and (-1, 0, 1), whose product is 3 and
    # whose lengths are sqrt(42)/3 and sqrt(2): 9/sqrt(84).
    arrays = {
        "vulnerability_scaled": np.array([1.0, 2, 4]),
        "features_per_dimension": np.array([1.0, 2, 3]),
    }
    rows = [{"vulnerability_ratio": ratio} for ratio in (1.0, None, 4.0)]
    found = module.overall(rows, arrays)
    assert found == {"cells": 3, "pearson": pytest.approx(9 / np.sqrt(84)), "ratio_most": 4}


def test_cells_are_in_order_of_falling_probability(tmp_path):
    found = module.adversarial(commanded(tmp_path, TINY))
    assert [row["p"] for row in found.rows] == [1.0, 0.4, 0.1]
    assert found.rows[0]["vulnerability_ratio"] == 1
    assert all(row["vulnerability"] >= 0 for row in found.rows)


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.kind=relu_hidden", "not relu_hidden"),
        ("data.feature_probability=[.1,.1,.1,.1,.1,.2]", "one feature"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("adversarial", TINY, "sweep=null", override)
