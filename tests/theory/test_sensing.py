"""Sparse recovery: published thresholds, reference decoders of SciPy, tiny runs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import commanded, plan, refusal
from scipy.optimize import linprog, minimize

from superposition_cli.analyses import decoding, recovery
from superposition_cli.measures import decoders
from superposition_cli.theory import sensing
from superposition_cli.toy import rng

PHI = """\
name: tiny_phi
model: {kind: linear, n_features: 20, n_hidden: 4}
train: {objective: packing, steps: 0, restarts: 2}
sweep: {parameters: {model.n_hidden: [14, 4, 18]}}
"""
TRAINED = """\
name: tiny_trained
model: {n_features: 6, n_hidden: 3}
data: {feature_probability: 0.1}
train: {objective: population, optimizer: adam, learning_rate: 3e-2, steps: 80}
sweep: {parameters: {data.feature_probability: [0.1, 0.3]}}
"""
DIGON = ("model={n_features: 2, n_hidden: 1}", "data.feature_probability=0.5")


def test_v43_statistical_dimensions_and_weak_thresholds(float64):
    """psi(s) and rho_W(delta) are the published values to 1e-3."""
    share = jnp.array([0.01, 0.02, 0.05, 0.1, 0.2, 0.3])
    signed = [0.0612, 0.1042, 0.2039, 0.3288, 0.5111, 0.6456]
    known = [0.0522, 0.0874, 0.1671, 0.2653, 0.4099, 0.5215]
    np.testing.assert_allclose(sensing.statistical_dimension(share), signed, atol=1e-4)
    np.testing.assert_allclose(sensing.statistical_dimension(share, True), known, atol=1e-4)
    ratio = jnp.array([0.1, 0.25, 0.5, 0.75, 0.9])
    signed, known = (
        [0.1894, 0.2674, 0.3857, 0.5337, 0.6782],
        [0.2410, 0.3651, 0.5582, 0.7659, 0.9027],
    )
    np.testing.assert_allclose(sensing.weak_threshold(ratio), signed, atol=1e-3)
    np.testing.assert_allclose(sensing.weak_threshold(ratio, True), known, atol=1e-3)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def problem(n=12, m=7, k=2):
    generator = np.random.default_rng(5)
    W, x = generator.normal(size=(n, m)), np.zeros(n)
    x[generator.choice(n, k, replace=False)] = generator.uniform(0.5, 1, k)
    return W, x, W.T @ x


@pytest.mark.parametrize("nonnegative", [False, True])
def test_basis_pursuit_against_a_linear_program(float64, nonnegative):
    W, _, h = problem(k=4)
    found = decoders.basis_pursuit(jnp.asarray(W), jnp.asarray(h), nonnegative, 4000)
    n = len(W)
    if nonnegative:
        best = linprog(np.ones(n), A_eq=W.T, b_eq=h, bounds=(0, None)).fun
    else:
        best = linprog(np.ones(2 * n), A_eq=np.hstack([W.T, -W.T]), b_eq=h, bounds=(0, None)).fun
    assert float(jnp.abs(found).sum()) == pytest.approx(best, rel=1e-6)
    np.testing.assert_allclose(W.T @ np.asarray(found), h, atol=1e-5)


@pytest.mark.parametrize("nonnegative", [False, True])
def test_fista_reaches_the_minimum_of_the_lasso(float64, nonnegative):
    W, _, h = problem()
    found = np.asarray(decoders.fista(jnp.asarray(W), jnp.asarray(h), 0.1, nonnegative, 3000))

    def loss(parts):
        x = parts[: len(W)] - (0 if nonnegative else parts[len(W) :])
        return 0.5 * np.sum((W.T @ x - h) ** 2) + 0.1 * np.sum(parts)

    size = len(W) * (1 if nonnegative else 2)
    best = minimize(loss, np.full(size, 0.1), bounds=[(0, None)] * size, options={"maxiter": 5000})
    own = found if nonnegative else np.concatenate([np.maximum(found, 0), np.maximum(-found, 0)])
    assert loss(own) <= best.fun * (1 + 1e-6)


def test_matching_pursuit_recovers_orthogonal_and_few_features(float64):
    W, x, h = problem(n=12, m=9, k=2)
    np.testing.assert_allclose(decoders.omp(jnp.asarray(W), jnp.asarray(h)), x, atol=1e-8)
    eye = jnp.eye(4)
    np.testing.assert_allclose(decoders.omp(eye, jnp.array([0.0, 2.0, 0.0, -1.0])), [0, 2, 0, -1])


def test_columns_of_zeros_are_no_measurements(float64):
    W, _, h = problem()
    padded = jnp.pad(jnp.asarray(W), ((0, 0), (0, 3)))
    solve = partial(decoders.basis_pursuit, nonnegative=True, iterations=500)
    same = solve(padded, jnp.pad(jnp.asarray(h), (0, 3)))
    np.testing.assert_allclose(same, solve(jnp.asarray(W), jnp.asarray(h)), atol=1e-9)


def test_inputs_have_just_as_many_active_features():
    x = np.asarray(sensing.sparse_inputs(rng.key(0), 200, 10, 3))
    assert ((x > 0).sum(axis=1) == 3).all()
    # each feature is active in 30 % of 200 inputs, give or take five standard deviations
    assert (np.abs((x > 0).mean(axis=0) - 0.3) < 5 * np.sqrt(0.21 / 200)).all()


def test_crossings_lie_between_cells():
    # From 4 to 6 success rises by 3/8 per measurement: to .5 in 2/3 of one, to .9 in 26/15.
    m, success = np.array([2.0, 4.0, 6.0]), np.array([0.0, 0.25, 1.0])
    assert recovery.crossing(m, success, 0.5) == pytest.approx(14 / 3)
    assert recovery.crossing(m, success, 0.9) == pytest.approx(86 / 15)
    assert recovery.crossing(m, np.ones(3), 0.5) is None
    assert recovery.crossing(m, np.zeros(3), 0.5) is None


def test_more_measurements_recover_more(tmp_path, monkeypatch):
    monkeypatch.setattr(recovery, "ITERATIONS", 300)
    found = recovery.recovery(commanded(tmp_path, PHI))
    assert found.arrays["m"].tolist() == [4, 14, 18]
    few, many = found.arrays["success"][:, 0, 0], found.arrays["success"][:, 0, -1]
    assert (few < 0.3).all()
    assert (many > 0.9).all()
    assert [(row["decoder"], row["k"]) for row in found.rows] == [
        (decoder, k) for decoder in recovery.DECODERS for k in recovery.ACTIVE
    ]


def test_decoders_are_measured_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "SAMPLES", 128)
    found = decoding.decoding(commanded(tmp_path, TRAINED))
    assert found.arrays["p"] == pytest.approx([0.1, 0.3])
    assert all(0 <= row["exact_sparse"] <= 1 for row in found.rows)


def test_decoders_of_a_digon_by_hand():
    """W = (1, -1), both features active with probability 1/2, h = x - y.

    The model answers (h₊, (-h)₊), which is the least non-negative sum with that h: it misses
    the smaller magnitude twice, 2 E min(x, y)² = 1/3 when both are active, a quarter of inputs.
    Of inputs that are not zero, (1/2)/(3/4) have one active feature and come back.
    """
    setting = plan(TRAINED, "sweep=null", *DIGON).setting(0)
    row = decoding.measured(setting, {"W": np.array([[1.0], [-1.0]]), "b": np.zeros(2)})
    # Five standard errors: of 2 min² 1(both), with the mean square 4/15/4, and of a share.
    error = 5 * np.sqrt((1 / 15 - 1 / 12**2) / decoding.SAMPLES)
    assert row["mse_model"] == pytest.approx(1 / 12, abs=error)
    assert row["sparse_ratio"] == pytest.approx(1, abs=5e-5)  # 800 iterations, 6e-8 each
    error = 5 * np.sqrt(2 / 9 / (3 / 4 * decoding.SAMPLES))
    assert row["exact_sparse"] == pytest.approx(2 / 3, abs=error)


@pytest.mark.parametrize(
    ("override", "why"),
    [("sweep.parameters={seed: [1]}", "no other axis"), ("sweep=null", "no other axis")],
)
def test_other_runs_have_no_recovery(override, why):
    assert why in refusal("recovery", PHI, override)


def test_other_models_have_no_decoding():
    assert "not relu_hidden" in refusal("decoding", TRAINED, "model.kind=relu_hidden")
