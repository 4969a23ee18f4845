"""The expansion by number of active features against sampling, quadrature and itself."""

from functools import partial
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from superposition_cli.theory.expansion import (
    activity_tail,
    exact_loss,
    expansion,
    expansion_bound,
    feature_losses,
    interference_law,
    loss_decomposition,
    one_hot_loss,
    pair_losses,
    silent_loss,
    single_deficits,
    single_interference,
)
from superposition_cli.theory.phases import two_feature_losses

terms_of = jax.jit(loss_decomposition)
exact = jax.jit(exact_loss)
expand = jax.jit(expansion, static_argnums=4)
bound_of = jax.jit(expansion_bound, static_argnums=4)
tail_of = jax.jit(activity_tail, static_argnums=1)
UNEQUAL = (0.05, 0.3, 0.5, 0.2, 1.0)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def random_problem(p, m=2, seed=0):
    """W [n, m], b, importance, p [n], of a model some way from its optimum."""
    rng, n = np.random.default_rng(seed), len(p)
    W, b = rng.normal(0, 0.7, (n, m)), rng.normal(0, 0.2, n)
    return tuple(map(jnp.asarray, (W, b, rng.uniform(0.3, 1, n), np.asarray(p, float))))


def losses_of(W, b, importance, x):
    W, b, importance = (np.asarray(a) for a in (W, b, importance))
    return importance @ (x - np.maximum(W @ (W.T @ x) + b[:, None], 0)) ** 2


def stratified(W, b, importance, p, n_samples=200_000, seed=1):
    """Means and squared standard errors of the loss, by number of active features [n + 1]."""
    rng, n, p = np.random.default_rng(seed), len(p), np.asarray(p)
    mean, variance = np.zeros(n + 1), np.zeros(n + 1)
    for count in range(n + 1):
        for chosen in map(list, combinations(range(n), count)):
            active = np.isin(np.arange(n), chosen)
            weight = np.prod(np.where(active, p, 1 - p))
            x = np.where(active[:, None], rng.random((n, n_samples if weight else 2)), 0)
            losses = losses_of(W, b, importance, x)
            mean[count] += weight * losses.mean()
            variance[count] += weight**2 * losses.var() / losses.size
    return mean, variance


@pytest.mark.parametrize("p", [(0.02,) * 5, (0.2,) * 5, UNEQUAL])
def test_terms_by_sampling(float64, p):
    problem = random_problem(p)
    terms = terms_of(*problem)
    mean, variance = stratified(*problem, n_samples=50_000)
    found = [
        terms.silence,
        terms.benefit_deficit + terms.interference,
        terms.pairs,
        terms.remainder,
    ]
    expected = [*mean[:3], mean[3:].sum()]
    error = np.sqrt([*variance[:3], variance[3:].sum()])
    assert np.all(np.abs(np.subtract(found, expected)) <= 4.5 * error + 1e-14)
    assert min(terms) >= 0
    np.testing.assert_allclose(sum(terms), exact(*problem), rtol=1e-12)


def test_v41_expansion_of_sparse_features_by_sampling(float64):
    """Loss with at most two of five active features (p = .02): sampled, within 1 %."""
    # five features, p = .02: order 2 leaves out P(N >= 3) = 7.8e-5
    W, b, importance, p = random_problem([0.02] * 5)
    order2 = expand(W, b, importance, p, 2)
    mean, variance = stratified(W, b, importance, p)
    assert np.sqrt(variance.sum()) < 1e-3 * mean.sum()
    np.testing.assert_allclose(order2, mean.sum(), rtol=0.01)


def test_pentagon_is_not_cheaper_than_its_terms(float64):
    angles = 2 * np.pi * np.arange(5) / 5
    W = 1.1346 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    problem = (W, np.full(5, -0.2463), np.ones(5), np.full(5, 0.05))
    mean, variance = stratified(*problem)
    assert np.sqrt(variance.sum()) < 1e-3 * mean.sum()
    np.testing.assert_allclose(exact(*problem), mean.sum(), rtol=2e-3)
    np.testing.assert_allclose(exact(*problem), 0.0089036, rtol=1e-4)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("p", [(0.05,) * 5, (0.3,) * 5, UNEQUAL])
def test_bound_contains_what_is_left_out(float64, p, order):
    problem = random_problem(p)
    left_out = exact(*problem) - expand(*problem, order)
    assert 0 < left_out < bound_of(*problem, order)
    # and is of the right size: it would be 0 with no more than `order` features
    assert bound_of(*problem, order) < 6 * left_out


def test_expansion_is_exact_for_as_many_features_as_its_order(float64):
    for n in (1, 2):
        W, b, importance, p = random_problem([0.4, 1.0][:n])
        for order in range(n, 3):
            np.testing.assert_allclose(
                expand(W, b, importance, p, order), exact(W, b, importance, p), rtol=1e-12
            )
            np.testing.assert_allclose(bound_of(W, b, importance, p, order), 0, atol=1e-15)
    with pytest.raises(ValueError, match="order 1 or 2"):
        expansion(W, b, importance, p, 3)


def test_equal_probabilities_give_the_binomial_weights(float64):
    p, n = 0.1, 4
    W, b, importance, _ = random_problem([p] * n)
    parts = [jax.jit(part)(W, b, importance) for part in (single_deficits, single_interference)]
    singles = parts[0] + parts[1]
    expected = (1 - p) ** n * silent_loss(b, importance) + p * (1 - p) ** (n - 1) * singles.sum()
    np.testing.assert_allclose(expand(W, b, importance, jnp.full(n, p), 1), expected, rtol=1e-12)
    pairs = p**2 * (1 - p) ** (n - 2) * jax.jit(pair_losses)(W, b, importance).sum()
    found = expand(W, b, importance, jnp.full(n, p), 2)
    np.testing.assert_allclose(found, expected + pairs, rtol=1e-12)
    np.testing.assert_allclose(jax.jit(one_hot_loss)(W, b, importance), singles.mean(), rtol=1e-12)


def test_single_terms_by_hand(float64):
    # W = (1, -1)ᵀ, b = (0, .3): M = [[1, -1], [-1, 1]], I = (1, 2)
    W, b, importance = jnp.array([[1.0], [-1]]), jnp.array([0, 0.3]), jnp.array([1.0, 2])
    np.testing.assert_allclose(silent_loss(b, importance), 0.18)
    # own errors: 0, and 2 * .3²
    np.testing.assert_allclose(single_deficits(W, b, importance), [0, 0.18], atol=1e-15)
    # feature 1 lights output 2 by (.3 - u)₊: 2 * .3³/3; feature 2 does not light output 1
    np.testing.assert_allclose(single_interference(W, b, importance), [0.018, 0], atol=1e-15)


def test_activity_tail(float64):
    # two features: P(N >= 1) = 1 - .7 * .4, P(N >= 2) = .3 * .6
    p = jnp.array([0.3, 0.6])
    np.testing.assert_allclose([tail_of(p, c) for c in range(4)], [1, 0.72, 0.18, 0], atol=1e-15)
    # C(5, 3) p³ at leading order
    np.testing.assert_allclose(tail_of(jnp.full(5, 1e-6), 3), 1e-17, rtol=1e-5)
    np.testing.assert_allclose(tail_of(jnp.full(5, 0.05), 3), 1.158e-3, rtol=1e-3)


def test_errors_of_single_outputs(float64):
    W, b, importance, p = random_problem(UNEQUAL)
    each = np.asarray(jax.jit(feature_losses)(W, b, p))
    np.testing.assert_allclose(importance @ each, exact(W, b, importance, p), rtol=1e-12)
    for i in (0, 4):
        alone = np.eye(5)[i]
        np.testing.assert_allclose(each[i], exact(W, b, alone, p), rtol=1e-12)
        mean, variance = stratified(W, b, alone, p, n_samples=20_000)
        assert abs(each[i] - mean.sum()) < 4.5 * np.sqrt(variance.sum())


def test_law_of_the_interference(float64):
    weight, p = np.array([0.7, -0.4, 1e-4, 0.0, -1.1]), np.array([0.3, 0.1, 0.5, 0.2, 1.0])
    law = jax.jit(interference_law, static_argnums=(2, 3))(weight, p, 2, 512)
    position, probability = np.asarray(law.position), np.asarray(law.probability)
    tails = [tail_of(jnp.asarray(p), c) for c in range(3)]
    expected = [tails[0] - tails[1], tails[1] - tails[2], tails[2]]
    np.testing.assert_allclose(probability.sum(axis=1), expected, atol=1e-12)
    total = probability.sum(axis=0)
    np.testing.assert_allclose(total @ position, weight @ p / 2, rtol=1e-10)
    variance = np.sum(weight**2 * (p / 3 - p**2 / 4))
    np.testing.assert_allclose(total @ position**2 - (weight @ p / 2) ** 2, variance, rtol=1e-4)
    assert total.min() > -1e-15


def test_float32_batches_and_keeps_its_dtype(float64):
    problems = [random_problem([0.02] * 5, seed=seed) for seed in range(2)]
    stacked = [jnp.stack(a).astype(jnp.float32) for a in zip(*problems, strict=True)]
    batched = jax.jit(jax.vmap(loss_decomposition))(*stacked)
    for k, problem in enumerate(problems):
        for small, term in zip(batched, terms_of(*problem), strict=True):
            assert small.dtype == jnp.float32
            np.testing.assert_allclose(small[k], term, rtol=1e-4)


# --- its optimum ------------------------------------------------------------------------


@partial(jax.jit, static_argnums=(0, 1))
def value_and_gradient(loss, m, x, importance, p):
    """Of the loss as a function of W and b, in one flat array x [n m + n]."""
    n = len(importance)
    return jax.value_and_grad(lambda x: loss(x[: n * m].reshape(n, m), x[n * m :], importance, p))(
        x
    )


def second_order(W, b, importance, p):
    return expansion(W, b, importance, p, order=2)


def minimise(loss, m, p, starts):
    """The best of several L-BFGS runs; features have importance 1 and probability p [n]."""

    def on_host(x):
        value, gradient = value_and_gradient(loss, m, x, np.sign(p), np.asarray(p, float))
        return float(value), np.asarray(gradient)

    runs = [
        scipy.optimize.minimize(on_host, x, jac=True, method="L-BFGS-B", tol=1e-13) for x in starts
    ]
    return min(runs, key=lambda run: run.fun)


def two_feature_optimum(p):
    """Two features have no third, so the second order is exact."""
    starts = [(0.9, -0.8, 0, 0), (1, 0, 0, p / 2), (0.9, -0.45, 0, 0.3)]
    return minimise(second_order, 1, [p, p], np.array(starts, float))


def test_exact_optimum_of_two_features_against_the_closed_form(float64):
    # ratios to the best closed form at r = 1
    for p, ratio in ((1.0, 1.0), (0.8, 0.989), (0.5, 0.915), (0.1, 0.996), (0.01, 1.0)):
        best = two_feature_optimum(p)
        assert best.fun / min(two_feature_losses(p, 1.0)) == pytest.approx(ratio, abs=1.5e-3)
    norm, bias = np.abs(two_feature_optimum(0.5).x[0]), two_feature_optimum(0.5).x[2]
    np.testing.assert_allclose([norm, bias], [0.969, 0.098], atol=1e-3)


def test_exact_optimum_has_no_kink_at_the_closed_form_boundary(float64):
    p = np.array([0.45, 0.5, 0.55, 0.6, 0.65, 0.7])
    best = [two_feature_optimum(one) for one in p]
    norms = [np.abs(one.x[0]) for one in best]
    np.testing.assert_allclose(norms, [0.989, 0.968, 0.930, 0.868, 0.804, 0.759], atol=2e-3)
    # differences of the least loss: 8/21 below 4/7 and 1/21 above it, were the closed form
    # the optimum; here they fall by less than half from one step to the next up to .7
    p = np.array([0.45, 0.5, 0.55, 0.6, 0.65, 0.68, 0.7, 0.72])
    rises = np.diff([two_feature_optimum(one).fun for one in p]) / np.diff(p)
    np.testing.assert_allclose(
        rises, [0.257, 0.247, 0.205, 0.129, 0.068, 0.037, 0.004], rtol=0, atol=1e-3
    )


def test_three_equal_features(float64):
    # beside them two features that are never active, so that all share one program
    rng = np.random.default_rng(0)
    angles = 2 * np.pi * np.arange(3) / 3
    digon = np.array([[1, 0], [-1, 0], [0, 1]])
    triangle = 0.9 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    starts = [
        np.append(np.pad(W + rng.normal(0, 0.03, (3, 2)), ((0, 2), (0, 0))), np.zeros(5))
        for W in (digon, triangle)
    ]
    # one digon and one dedicated feature
    for p, expected in ((0.5, 0.076365), (0.3, 0.029333), (0.1, 0.00332)):
        best = minimise(exact_loss, 2, [p, p, p, 0, 0], starts)
        assert best.fun == pytest.approx(expected, rel=2e-3)
        assert np.linalg.norm(best.x[:6].reshape(3, 2), axis=1).min() > 0.5
    # and the triangle where features are dense: equal norms, equal products
    W = minimise(exact_loss, 2, [0.7, 0.7, 0.7, 0, 0], starts).x[:6].reshape(3, 2)
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 0.87, atol=0.05)
    D = np.sum(W**2, axis=1) ** 2 / np.sum((W @ W.T) ** 2, axis=1)
    np.testing.assert_allclose(D, 2 / 3, atol=1e-3)


def test_gradient_of_the_exact_loss(float64):
    rng = np.random.default_rng(0)
    x, step = rng.normal(0, 0.5, 15), rng.normal(size=15)
    importance, p = rng.uniform(0.3, 1, 5), np.array([0.05, 0.3, 0.5, 0.2, 1])
    value = partial(value_and_gradient, exact_loss, 2)
    ahead, behind = (value(x + s * step, importance, p)[0] for s in (1e-4, -1e-4))
    along = np.dot(value(x, importance, p)[1], step)
    np.testing.assert_allclose(along, (ahead - behind) / 2e-4, rtol=1e-4)
    # an embedding of zeros, where every slope of an output is zero
    assert np.all(np.isfinite(value(0 * x, importance, p)[1]))


def test_pentagon_of_sparse_features(float64):
    angles = 2 * np.pi * np.arange(5) / 5
    starts = np.append(1.1 * np.stack([np.cos(angles), np.sin(angles)], axis=1), [-0.2] * 5)
    starts = starts + np.random.default_rng(0).normal(0, 0.02, 15)
    best = minimise(exact_loss, 2, np.full(5, 0.05), [starts])
    W = best.x[:10].reshape(5, 2)
    # quadrature that ignores the kink finds 1.139, -.252 and .008855, half a per cent low
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1.1346, atol=1e-3)
    np.testing.assert_allclose(best.x[10:], -0.2463, atol=1e-3)
    assert best.fun == pytest.approx(0.0089036, rel=1e-4)
    assert best.fun == pytest.approx(0.008855, rel=0.01)
    two_digons = np.array([1, 0, -1, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0, 0.025])
    digons = minimise(exact_loss, 2, np.full(5, 0.05), [two_digons])
    assert digons.fun == pytest.approx(0.017708, rel=2e-3)
