"""Almost-orthogonal vectors: known values of the laws, and packings whose angles are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_keys, make_knobs, make_spec, stack, trained

from superposition_cli.theory import packing
from superposition_cli.toy import evaluate, objectives

pytestmark = pytest.mark.usefixtures("float64")
GOLDEN = (1 + 5**0.5) / 2


def six_lines():
    """The diagonals of the icosahedron; every two have |cos| = 1/sqrt 5."""
    return np.array(
        [[0, 1, GOLDEN], [0, 1, -GOLDEN], [1, GOLDEN, 0], [1, -GOLDEN, 0], [GOLDEN, 0, 1],
         [-GOLDEN, 0, 1]]
    )  # fmt: skip


def packing_spec(**changes):
    settings = {"model": "linear", "data": "one_hot", "sets": (), "objective": "packing"}
    return make_spec(**{**settings, **changes})


def packing_knobs(n, dtype="float64"):
    p = np.full(n, 1 / n)
    return make_knobs(dtype, feature_probability=p, importance=np.ones(n), learning_rate=2e-2)


@pytest.mark.parametrize(
    ("m", "epsilon", "probability", "count"),
    [
        (100, 0.3, 2.304e-3, 24.5),
        (256, 0.2, 1.267e-3, 33.1),
        (512, 0.2, 4.994e-6, 526.9),
        (1000, 0.1, 1.536e-3, 30.0),
    ],
)
def test_tail_and_median_count(m, epsilon, probability, count):
    # given to four and three digits
    assert float(packing.tail(m, epsilon)) == pytest.approx(probability, rel=5e-4)
    assert float(packing.median_count(m, epsilon)) == pytest.approx(count, rel=2e-3)
    assert packing.tail(m, epsilon) < 2 * np.exp(-m * epsilon**2 / 2)


def test_tail_in_two_and_three_dimensions():
    # in the plane the angle is uniform; in space the cosine is (Archimedes)
    epsilon = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(packing.tail(2, epsilon), 1 - 2 / np.pi * np.arcsin(epsilon))
    np.testing.assert_allclose(packing.tail(3, epsilon), 1 - epsilon)


@pytest.mark.parametrize("m", [2, 7, 100])
def test_mean_squared_cosine_is_the_integral_of_the_tail(m):
    # E cos² = ∫ 2 ε P(|cos| > ε) dε, by 400 Gauss nodes
    node, weight = np.polynomial.legendre.leggauss(400)
    at = (node + 1) / 2
    assert float((weight / 2) @ (2 * at * packing.tail(m, at))) == pytest.approx(1 / m, rel=1e-4)


@pytest.mark.parametrize(
    ("count", "m", "coherence"), [(100, 20, 0.737), (400, 30, 0.707), (1000, 100, 0.459)]
)
def test_median_coherence(count, m, coherence):
    found = packing.median_coherence(count, m)
    assert float(found) == pytest.approx(coherence, abs=6e-4)
    pairs = count * (count - 1) / 2
    assert float(pairs * packing.tail(m, found)) == pytest.approx(np.log(2), rel=1e-9)


def test_v49_random_directions_of_a_given_coherence_grow_exponentially_in_number():
    """log N50 is linear in m at cosine 0.3, R² > .99, with a positive slope."""
    m = np.arange(50, 401, 10)
    count = np.log(packing.median_count(m, 0.3))
    assert np.corrcoef(m, count)[0, 1] ** 2 > 0.99
    assert np.polyfit(m, count, 1)[0] > 0
    # what is left of P's prefactor m^(-1/2) adds d/dm (ln m)/4 = 1/(4 m)
    ahead = float(np.log(packing.median_count(1001, 0.3) / packing.median_count(1000, 0.3)))
    assert ahead == pytest.approx(float(packing.growth(0.3)) + 1 / 4000, rel=1e-3)


def test_enough_dimensions_by_hand():
    assert float(packing.enough_dimensions(np.e**2, 0.5)) == pytest.approx(64)


def test_coherence_of_known_lines_whatever_their_lengths():
    W = six_lines() * np.array([[1], [2], [3], [0.1], [0.2], [7]])
    assert float(packing.squared_coherence(jnp.asarray(W))) == pytest.approx(1 / 5, rel=1e-12)
    # 30 ordered pairs, all at 1/5
    soft = packing.soft_squared_coherence(jnp.asarray(W), 50.0)
    assert float(soft) == pytest.approx(1 / 5 + np.log(30) / 50, rel=1e-12)


def test_smoothing_by_a_loop():
    W, beta = np.random.default_rng(0).normal(size=(4, 2)), 7.0
    total = sum(
        np.exp(beta * (W[i] @ W[j]) ** 2 / (W[i] @ W[i] * (W[j] @ W[j])))
        for i in range(4)
        for j in range(4)
        if i != j
    )
    found = packing.soft_squared_coherence(jnp.asarray(W), beta)
    assert float(found) == pytest.approx(np.log(total) / beta, rel=1e-12)


def test_sharpness_rises_in_equal_ratios():
    beta = [float(packing.sharpness(t, 5)) for t in range(5)]
    assert beta == pytest.approx([10, 10 * 200**0.25, 10 * 200**0.5, 10 * 200**0.75, 2000])
    assert float(packing.sharpness(0, 1)) == 10


def test_the_objective_sees_the_step():
    spec, knobs = packing_spec(n_features=6, n_hidden=3, steps=11), packing_knobs(6)
    params = {"W": jnp.asarray(six_lines()), "b": jnp.zeros(6)}
    key = make_keys(1)[0]
    losses = [
        float(objectives.OBJECTIVES["packing"].loss(spec, knobs, key, t, params)) for t in (0, 10)
    ]
    assert losses == pytest.approx([0.2 + np.log(30) / 10, 0.2 + np.log(30) / 2000])


def test_the_verdict_is_the_squared_coherence_by_the_welch_bound():
    spec, knobs = packing_spec(n_features=6, n_hidden=3), packing_knobs(6)
    params = {"W": jnp.asarray(six_lines()), "b": jnp.zeros(6)}
    judged = evaluate.judge(spec, (), stack([knobs]), make_keys(1), stack([params]))
    expected = {"loss": 0.2, "loss_error": 0, "null_loss": 0.2, "loss_normalised": 1}
    assert {name: float(judged[name][0]) for name in expected} == pytest.approx(expected)


def test_three_lines_in_the_plane_end_at_sixty_degrees():
    spec = packing_spec(
        n_features=3, n_hidden=2, optimizer="adam", schedule="cosine", steps=400, dtype="float64"
    )
    knobs, keys = stack([packing_knobs(3)] * 2), make_keys(2)
    W = trained(spec, knobs, keys, steps=400).state.params["W"]
    found = jax.vmap(packing.squared_coherence)(jnp.asarray(W))
    # the smoothing leaves ln 6 / 2000 = .0009 of play at the last step
    np.testing.assert_allclose(found, 0.25, atol=9e-4)
