"""Attacks: by hand on a digon, and by trying every push in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_knobs, make_spec
from helpers import commanded, refusal

from superposition_cli.analyses import adversarial as module
from superposition_cli.measures import attack

TINY = """\
name: tiny
model: {n_features: 6, n_hidden: 2}
data: {feature_probability: 0.3}
train: {optimizer: adam, learning_rate: 1e-2, steps: 60, batch_size: 64, restarts: 2}
sweep: {parameters: {data.feature_probability: [0.1, 1.0, 0.4]}}
"""


def test_rows_of_the_products_are_directions():
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
    spec, knobs = make_spec(), make_knobs()
    generator = np.random.default_rng(0)
    W, b = generator.normal(size=(5, 2)), generator.normal(size=5) * 0.1
    x = generator.uniform(size=(5, 40)) * (generator.uniform(size=(5, 40)) < 0.4)

    def loss(seen):
        answer = np.maximum(W @ (W.T @ seen) + b[:, None], 0)
        return (np.array(knobs.importance)[:, None] * (x - answer) ** 2).sum(0)

    rows = W @ W.T / np.linalg.norm(W @ W.T, axis=1, keepdims=True)
    tried = [loss(x + 0.2 * sign * row[:, None]) for row in rows for sign in (1, -1)]
    expected = np.mean(np.max([loss(x), *tried], axis=0) - loss(x))
    params = {"W": jnp.float32(W), "b": jnp.float32(b)}
    found = jax.jit(attack.vulnerability, static_argnums=0)(
        spec, knobs, params, jnp.float32(x), jnp.float32(0.2)
    )
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_cells_are_in_order_of_falling_probability(tmp_path):
    found = module.adversarial(commanded(tmp_path, TINY))
    assert [row["p"] for row in found.rows] == [1.0, 0.4, 0.1]
    assert found.rows[0]["vulnerability_ratio"] == 1
    assert all(row["vulnerability"] >= 0 for row in found.rows)
    for row in found.rows:
        scaled = row["vulnerability"] / row["attack_length"] ** 2
        assert row["vulnerability_scaled"] == pytest.approx(scaled)
    assert -1 <= found.numbers["pearson"] <= 1


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.kind=relu_hidden", "not relu_hidden"),
        ("data.feature_probability=[.1,.1,.1,.1,.1,.2]", "one feature"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("adversarial", TINY, "sweep=null", override)
