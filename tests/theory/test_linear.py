"""Closed forms against sampling, enumeration, autodiff and published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superposition_cli.theory.linear import (
    fourth_cumulant,
    linear_loss,
    linear_loss_terms,
    linear_optimum,
    linear_probe_r2,
    null_loss,
    uniform_variance,
    welch_bound,
)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def random_problem(n, m, seed):
    """W [n, m], b, importance, mean [n], covariance [n, n], all float64."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(n, n))
    W, b, mean = rng.normal(size=(n, m)), rng.normal(size=n), rng.normal(size=n)
    return W, b, rng.uniform(0.2, 2, n), mean, root @ root.T


def squared_errors(W, b, x):
    """(x - W Wᵀ x - b)² for samples x [n, B]."""
    return (x - W @ (W.T @ x) - b[:, None]) ** 2


loss_of = jax.jit(linear_loss)
terms_of = jax.jit(linear_loss_terms)
gradient_of = jax.jit(jax.grad(linear_loss, argnums=(0, 1)))


# --- the linear model's loss ------------------------------------------------------------


def test_linear_loss_by_hand(float64):
    # W = (1, 1)ᵀ/2: M = 1/4 everywhere, R = [[3/4, -1/4], [-1/4, 3/4]], covariance diag(1, 2).
    # spread_1 = 9/16 + 2/16 = 11/16, spread_2 = 1/16 + 18/16 = 19/16;
    # mean (1, 0), b = (1/4, 0): r = (3/4 - 1/4, -1/4) = (1/2, -1/4).
    # I = (1, 4): 11/16 + 4 * 19/16 + 1/4 + 4 * 1/16 = 87/16 + 1/2 = 95/16
    args = (
        jnp.array([[0.5], [0.5]]), jnp.array([0.25, 0]), jnp.array([1.0, 4]), jnp.array([1.0, 0]),
    )  # fmt: skip
    variance = jnp.array([1.0, 2])
    np.testing.assert_allclose(loss_of(*args, jnp.diag(variance)), 95 / 16, atol=1e-12)
    # benefit deficit 9/16 + 4 * 18/16, interference 2/16 + 4 * 1/16, bias 1/2
    terms = terms_of(*args, variance)
    np.testing.assert_allclose(terms, [81 / 16, 6 / 16, 1 / 2], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_linear_loss_is_the_expectation_over_a_discrete_law(float64, seed):
    rng = np.random.default_rng(seed)
    W, b, importance, _, _ = random_problem(7, 3, seed)
    atoms, weights = rng.normal(size=(7, 9)), rng.dirichlet(np.ones(9))
    mean = atoms @ weights
    covariance = (atoms * weights) @ atoms.T - np.outer(mean, mean)
    expected = importance @ squared_errors(W, b, atoms) @ weights
    loss = loss_of(*map(jnp.asarray, (W, b, importance, mean, covariance)))
    np.testing.assert_allclose(loss, expected, rtol=1e-11)


def test_linear_loss_of_correlated_features_by_sampling():
    # pairs (0, 1) and (2, 3) are active together with probability p, values U[0, 1]
    p, n_samples, rng = 0.3, 400_000, np.random.default_rng(0)
    W = rng.normal(0, 0.5, (4, 2))
    b, importance = rng.normal(0, 0.2, 4), np.array([1.0, 0.7, 0.5, 0.3])
    active = np.repeat(rng.random((2, n_samples)) < p, 2, axis=0)
    x = active * rng.random((4, n_samples))
    losses = importance @ squared_errors(W, b, x)
    covariance = np.kron(np.eye(2), np.ones((2, 2))) * p * (1 - p) / 4
    np.fill_diagonal(covariance, p / 3 - p**2 / 4)
    args = (W, b, importance, np.full(4, p / 2), covariance)
    exact = loss_of(*(jnp.asarray(a, jnp.float32) for a in args))
    standard_error = losses.std() / np.sqrt(n_samples)
    assert abs(exact - losses.mean()) < 4.5 * standard_error
    assert standard_error < 0.003 * exact


@pytest.mark.parametrize("shape", [(7, 3), (3, 5)])
def test_v62_terms_add_up_to_the_loss(float64, shape):
    """Benefit deficit, interference and bias add up to the linear loss, within 1e-12 of it."""
    W, b, importance, mean, covariance = map(jnp.asarray, random_problem(*shape, 0))
    variance = jnp.diagonal(covariance)
    terms = terms_of(W, b, importance, mean, variance)
    loss = loss_of(W, b, importance, mean, jnp.diag(variance))
    np.testing.assert_allclose(sum(terms), loss, rtol=1e-12)
    assert min(terms) >= 0


def test_interference_of_one_feature_is_zero(float64):
    one = jnp.ones(1)
    terms = terms_of(jnp.full((1, 2), 0.3), 0 * one, one, 0 * one, one)
    # ‖W‖² = .18: (1 - .18)² = .6724
    np.testing.assert_allclose(terms, [0.6724, 0, 0], atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_v42_autodiff_gradient_equals_the_analytic_one(float64, seed):
    """Gradient of the exact linear loss by autodiff: the analytic one, within 1e-9."""
    # L = tr[D R A Rᵀ] - 2 bᵀ D R μ + bᵀ D b with R = Id - M, A = Σ + μ μᵀ, so
    # G = dL/dM = -2 D [R A - b μᵀ]; M = W Wᵀ gives dL/dW = (G + Gᵀ) W; dL/db = -2 D r.
    W, b, importance, mean, covariance = random_problem(7, 3, seed)
    D, R = np.diag(importance), np.eye(7) - W @ W.T
    G = -2 * D @ (R @ (covariance + np.outer(mean, mean)) - np.outer(b, mean))
    arrays = map(jnp.asarray, (W, b, importance, mean, covariance))
    dW, db = gradient_of(*arrays)
    scale = np.abs(G).max()
    np.testing.assert_allclose(dW / scale, (G + G.T) @ W / scale, rtol=0, atol=1e-9)
    np.testing.assert_allclose(db, -2 * D @ (R @ mean - b), rtol=0, atol=1e-9)


def test_predicting_the_mean_costs_the_null_loss(float64):
    _, _, importance, mean, covariance = map(jnp.asarray, random_problem(5, 2, 0))
    loss = loss_of(jnp.zeros((5, 2)), mean, importance, mean, covariance)
    expected = null_loss(importance, jnp.diagonal(covariance))
    np.testing.assert_allclose(loss, expected, rtol=1e-12)
    np.testing.assert_allclose(null_loss(jnp.array([1.0, 0.5]), jnp.array([0.2, 0.4])), 0.4)


def test_linear_loss_batches_and_keeps_its_dtype():
    problems = [random_problem(4, 2, seed) for seed in range(3)]
    stacked = [jnp.asarray(np.stack(a), jnp.float32) for a in zip(*problems, strict=True)]
    batched = jax.vmap(loss_of)(*stacked)
    assert batched.dtype == jnp.float32
    for k in range(3):
        np.testing.assert_allclose(batched[k], loss_of(*(a[k] for a in stacked)), rtol=1e-5)


# --- its optimum ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "m", "ratio", "p", "expected"),
    [
        (20, 5, 0.7, 1.0, 4.646447e-2),
        (20, 5, 0.7, 0.3, 4.321195e-2),
        (20, 5, 0.7, 0.1, 1.719185e-2),
        (20, 5, 0.7, 0.01, 1.844639e-3),
        (20, 5, 0.7, 0.001, 1.857185e-4),
        (80, 20, 0.9, 1.0, 1.011318e-1),
        (80, 20, 0.9, 0.1, 3.741877e-2),
        (80, 20, 0.9, 0.01, 4.014933e-3),
    ],
)
def test_linear_optimum_of_geometric_importance(float64, n, m, ratio, p, expected):
    importance = ratio ** np.arange(n)
    covariance = np.diag(np.full(n, p / 3 - p**2 / 4))
    optimum = linear_optimum(importance, covariance, m)
    np.testing.assert_allclose(optimum, expected, rtol=2e-7)
    # the m most important features kept in dimensions of their own, the mean of the rest
    W, mean = np.eye(n, m), np.full(n, p / 2)
    loss = loss_of(W, np.where(np.arange(n) < m, 0, mean), importance, mean, covariance)
    np.testing.assert_allclose(loss, optimum, rtol=1e-12)


def test_linear_optimum_keeps_what_matters_most_not_what_comes_first():
    # I σ² = 1*.1, .5*.4, 2*.3, 1*.25 = .1, .2, .6, .25; with two kept: .1 + .2
    covariance = np.diag([0.1, 0.4, 0.3, 0.25])
    np.testing.assert_allclose(linear_optimum(np.array([1, 0.5, 2, 1]), covariance, 2), 0.3)


def test_linear_optimum_of_correlated_pairs_is_a_twelfth_of_p_each():
    p = 0.3
    covariance = np.kron(np.eye(3), np.full((2, 2), p * (1 - p) / 4))
    np.fill_diagonal(covariance, p / 3 - p**2 / 4)
    optimum = linear_optimum(np.full(6, 2.0), covariance, 3)
    np.testing.assert_allclose(optimum, 2 * 3 * p / 12, rtol=1e-12)


def test_no_linear_model_beats_the_optimum(float64):
    _, _, _, mean, covariance = random_problem(6, 2, 4)
    optimum = linear_optimum(np.ones(6), covariance, 2)
    principal = np.linalg.eigh(covariance)[1][:, -2:]
    rng = np.random.default_rng(0)
    for noise in (0, 1e-3, 0.1, 1):
        W = jnp.asarray(principal + noise * rng.normal(size=(6, 2)))
        b = jnp.asarray(mean - W @ (W.T @ mean))
        loss = loss_of(W, b, jnp.ones(6), jnp.asarray(mean), jnp.asarray(covariance))
        assert loss >= optimum * (1 - 1e-12)
        assert noise or loss <= optimum * (1 + 1e-12)


def test_linear_optimum_is_zero_with_enough_dimensions():
    for n_hidden in (4, 9):
        assert linear_optimum(np.ones(4), np.eye(4), n_hidden) == 0


def test_linear_optimum_refuses_what_has_no_closed_form():
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    with pytest.raises(ValueError, match="no closed form"):
        linear_optimum(np.array([1.0, 0.5]), covariance, 1)


# --- moments and bounds -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "low", "high", "expected"),
    [
        (0.0, 0, 1, 0.0),
        (1.0, 0, 1, 1 / 12),
        (0.3, 0, 1, 0.3 * (4 - 0.9) / 12),  # p (4 - 3 p) / 12
        (0.3, -1, 1, 0.1),  # p / 3: the mean is 0
        (0.3, 0, 2, 0.4 - 0.09),  # 4 p / 3 - p²
        (1.0, 2, 5, 9 / 12),  # (h - l)² / 12
    ],
)
def test_uniform_variance(float64, p, low, high, expected):
    np.testing.assert_allclose(uniform_variance(p, low, high), expected, atol=1e-14)


def test_uniform_variance_by_sampling():
    rng, p = np.random.default_rng(0), 0.4
    x = np.where(rng.random(1_000_000) < p, rng.uniform(-0.5, 2, 1_000_000), 0)
    np.testing.assert_allclose(uniform_variance(p, -0.5, 2), x.var(), rtol=0.005)


@pytest.mark.parametrize(
    ("k", "m", "expected"),
    [(100, 20, 0.2010), (400, 30, 0.1758), (1000, 100, 0.0949), (40, 10, 0.277), (10, 5, 1 / 3)],
)
def test_welch_bound(k, m, expected):
    np.testing.assert_allclose(welch_bound(k, m), expected, atol=5e-4 if k == 40 else 5e-5)


@pytest.mark.parametrize(("k", "m"), [(5, 5), (3, 5), (1, 1), (1, 4), (0, 2)])
def test_welch_bound_is_zero_where_vectors_can_be_orthogonal(k, m):
    assert welch_bound(k, m) == 0


# --- linear probes ----------------------------------------------------------------------


def test_probe_of_two_opposite_features_by_hand():
    # h = x_0 - x_1: cov(x_i, h)² / (var x_i var h), with var h = 2 + 1 - 2 c
    W = np.array([[1.0], [-1.0], [0.0]])
    independent = linear_probe_r2(W, np.diag([2.0, 1, 5]))
    np.testing.assert_allclose(independent, [2 / 3, 1 / 3, 0], atol=1e-12)
    tied = linear_probe_r2(W, np.array([[2.0, 0.5, 0], [0.5, 1, 0], [0, 0, 0]]))
    np.testing.assert_allclose(tied, [1.5**2 / (2 * 2), 0.5**2 / 2, np.nan], atol=1e-12)


def test_probes_of_independent_features_add_up_to_the_rank():
    rng = np.random.default_rng(0)
    W = rng.normal(size=(7, 2)) @ rng.normal(size=(2, 4))  # rank 2 in four dimensions
    covariance = np.diag(rng.uniform(0.1, 1, 7))
    assert linear_probe_r2(W, covariance).sum() == pytest.approx(2, abs=1e-10)


def test_probes_of_equal_variances_have_the_leverage():
    W = np.random.default_rng(1).normal(size=(7, 3))
    hat = W @ np.linalg.inv(W.T @ W) @ W.T
    np.testing.assert_allclose(linear_probe_r2(W, 0.3 * np.eye(7)), np.diagonal(hat), atol=1e-12)


@pytest.mark.parametrize("p", [0.5, 0.1, 1.0])
def test_the_fourth_cumulant_of_a_constant_magnitude_is_bernoullis(p):
    # v with probability p, else 0: v⁴ p (1 - p) (1 - 6 p (1 - p)), in float32 of terms below 12 v⁴
    expected = 16 * p * (1 - p) * (1 - 6 * p * (1 - p))
    assert float(fourth_cumulant(p, 2.0, 2.0)) == pytest.approx(expected, abs=1e-4)
