"""Means over uniform inputs, against high-precision formulas, quadrature and finite differences."""

from fractions import Fraction
from itertools import product
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from superposition_cli.theory.closed_forms import (
    own_error,
    own_error_of_two,
    rectified_moment,
    rectified_product,
    rectified_square,
    rectified_square_of_two,
    weighted_square,
)

SIZES = (1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 1e-2, 0.1, 0.5, 1.0)
SLOPES = (*SIZES, 1.7, -1e-12, -1e-6, -1e-3, -0.3, -1.0)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


# --- the textbook formulas in rational arithmetic: no rounding, so no cancellation --------


def plus(t):
    return max(t, Fraction(0))


def moment(a, b, r):
    """Φ_r by inclusion and exclusion; the features with a_j = 0 drop out."""
    a = [one for one in a if one]
    k = len(a)
    total = Fraction(0)
    for chosen in product((0, 1), repeat=k):
        shift = b + sum(one for one, is_in in zip(a, chosen, strict=True) if is_in)
        total += (-1) ** (k - sum(chosen)) * plus(shift) ** (r + k)
    denominator = Fraction(factorial(r + k), factorial(r))
    for one in a:
        denominator *= one
    return total / denominator


def product_formula(a, b):
    if not a:
        return plus(b) / 2
    return (plus(a + b) ** 3 / 3 - b * plus(a + b) ** 2 / 2 + plus(b) ** 3 / 6) / a**2


def weighted_formula(a, b):
    if not a:
        return plus(b) ** 2 / 2
    return (plus(a + b) ** 4 / 4 - b * plus(a + b) ** 3 / 3 + plus(b) ** 4 / 12) / a**2


def square_formula(a, b):
    return moment([a], b, 2)


def error_formula(a, b):
    return Fraction(1, 3) - 2 * product_formula(a, b) + square_formula(a, b)


def error_of_two_formula(a, c, b):
    if not c:
        return error_formula(a, b)
    rise = (weighted_formula(a, b + c) - weighted_formula(a, b)) / c
    return Fraction(1, 3) - rise + moment([a, c], b, 2)


def square_of_two_formula(a, c, b):
    return moment([a, c], b, 2)


OF_ONE = [
    (rectified_square, square_formula),
    (rectified_product, product_formula),
    (weighted_square, weighted_formula),
    (own_error, error_formula),
]
OF_TWO = [
    (rectified_square_of_two, square_of_two_formula),
    (own_error_of_two, error_of_two_formula),
]


moment_of = jax.jit(rectified_moment, static_argnums=2)


def check_values(function, formula, points, dtype, rtol, atol=0.0):
    arrays = [np.asarray(column, dtype) for column in zip(*points, strict=True)]
    rational = [[Fraction(float(x)) for x in column] for column in arrays]
    expected = np.array([float(formula(*point)) for point in zip(*rational, strict=True)])
    found = jax.jit(function)(*map(jnp.asarray, arrays))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


def points_of_one():
    offsets = (0.0, 1e-12, -1e-12, 3e-7, -3e-7, 0.02, -0.02, 0.3, -0.3, 1.0, -0.9)
    return [(a, b) for a in (*SLOPES, 0.0) for b in offsets]


def points_of_two():
    offsets = (0.0, -5e-13, 0.1, -0.05, -0.4, 0.4)
    slopes = (0.0, 1e-12, 1e-6, -1e-6, 1e-3, 0.05, -0.3, 0.8, -1.0)
    return list(product(slopes, slopes, offsets))


@pytest.mark.parametrize(("function", "formula"), OF_ONE)
def test_one_active_feature_is_accurate_for_every_slope(float64, function, formula):
    check_values(function, formula, points_of_one(), np.float64, 1e-12)
    # float32 has nothing below 1e-38
    check_values(function, formula, points_of_one(), np.float32, 1e-5, 1e-38)


@pytest.mark.parametrize(("function", "formula"), OF_TWO)
def test_two_active_features_are_accurate_for_every_slope(float64, function, formula):
    # z = a u + c v + b is rounded to a share eps of |b| <= 1, so z² below eps² is not resolved
    check_values(function, formula, points_of_two(), np.float64, 1e-11, 2.2e-16**2)
    check_values(function, formula, points_of_two(), np.float32, 1e-5, 1.2e-7**2)


def test_v40_values_of_the_building_blocks(float64):
    """Means over uniform inputs F, G, A, K2, A2 and Phi_2 at chosen points, within 6e-9."""
    found = [
        rectified_square(0.5, -0.1), rectified_square(-1.0, 0.2), own_error(0.8, 0.0),
        own_error(1.37, -0.2823), rectified_square_of_two(0.5, -0.5, 0.1),
        own_error_of_two(1.0, -1.0, 0.0), own_error_of_two(1.0, -0.5, 0.0),
        own_error_of_two(0.9, -0.4, 0.05), moment_of(jnp.array([0.6, -0.5, 0.3]), 0.05, 2),
        rectified_product(0.5, -0.1),
    ]  # fmt: skip
    # given to 8 decimals; G = [(a + b)³/3 - b (a + b)²/2] / a² = [.064/3 + .008] / .25 by hand
    expected = [
        0.04266667, 0.00266667, 0.01333333, 0.01140631, 0.04313333,
        1 / 6, 1 / 16, 0.04683337, 0.11743021, 0.088 / 0.75,
    ]  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=0, atol=6e-9)


def test_errors_vanish_only_for_a_perfect_output(float64):
    assert own_error(1.0, 0.0) == 0
    # (u - (u - e)₊)² is u² below e and e² above: e³/3 + (1 - e) e² = e² (1 - 2e/3)
    np.testing.assert_allclose(own_error(1.0, -1e-6), 1e-12 * (1 - 2e-6 / 3), rtol=1e-9)
    np.testing.assert_allclose(own_error(0.3, -0.5), 1 / 3)


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("slopes", [(0.7,), (1e-12, -0.4), (0.6, 1e-9, -0.8), (-0.5, 0.3, 0.9)])
def test_moments_of_several_features(float64, slopes, power):
    for b in (-0.3, 0.0, 0.2):
        expected = float(moment([Fraction(x) for x in slopes], Fraction(b), power))
        found = moment_of(jnp.array(slopes), b, power)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_moment_of_four_features_and_its_derivative_by_sampling(float64):
    a, b = np.array([0.8, -0.6, 0.4, -0.3]), -0.05
    u = np.random.default_rng(0).random((4, 1_000_000))
    z = np.maximum(b + a @ u, 0)
    value, slope = jax.jit(jax.value_and_grad(lambda a: rectified_moment(a, b, 2)))(jnp.asarray(a))
    np.testing.assert_allclose(value, np.mean(z**2), rtol=0.01)
    # E u_1 z₊ = (1/2) dΦ_2/da_1
    np.testing.assert_allclose(slope[0] / 2, np.mean(u[0] * z), rtol=0.01)


# --- derivatives -------------------------------------------------------------------------


def exact_slope(formula, point, index):
    """A central difference in rational arithmetic, with an error of order 1e-24."""
    step = Fraction(1, 10**18)
    up, down = list(point), list(point)
    up[index] += step
    down[index] -= step
    return float((formula(*up) - formula(*down)) / (2 * step))


def check_gradient(function, formula, points, dtype, tolerance):
    n_inputs = len(points[0])
    arrays = [jnp.asarray(column, dtype) for column in zip(*points, strict=True)]
    gradient = jax.jit(jax.vmap(jax.grad(function, argnums=tuple(range(n_inputs)))))(*arrays)
    for row, found in enumerate(np.stack(gradient, axis=1)):
        exact = [Fraction(float(column[row])) for column in arrays]
        expected = [exact_slope(formula, exact, index) for index in range(n_inputs)]
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("function", "formula"), OF_ONE)
def test_gradients_with_one_active_feature(float64, function, formula):
    points = [(a, b) for a in SLOPES for b in (-1e-3, -3e-13, 3e-13, 0.1, -0.2)]
    check_gradient(function, formula, points, np.float64, 1e-6)
    check_gradient(function, formula, points, np.float32, 1e-4)


@pytest.mark.parametrize(("function", "formula"), OF_TWO)
def test_gradients_with_two_active_features(float64, function, formula):
    slopes = (1e-12, 1e-6, 1e-3, -0.3, 0.8)
    points = list(product(slopes, slopes, (-3e-13, 0.05, -0.2)))
    check_gradient(function, formula, points, np.float64, 1e-6)
    check_gradient(function, formula, points, np.float32, 1e-4)


@pytest.mark.parametrize(("function", "_"), OF_ONE + OF_TWO)
def test_derivatives_are_finite_at_zero_slopes(float64, function, _):
    n_inputs = 2 if (function, _) in OF_ONE else 3
    for b in (-0.1, 0.0, 0.1):
        point = [0.0] * (n_inputs - 1) + [b]
        slopes = jax.jit(jax.grad(function, tuple(range(n_inputs))))(*point)
        assert np.all(np.isfinite(slopes))


def test_curvature_of_the_own_error(float64):
    # A(a, b) with a kink inside: compare with differences of the gradient
    for a, b in ((1.3, -0.4), (-0.6, 0.2), (0.9, 0.1)):
        curvature = jax.grad(jax.grad(own_error, 1), 1)(a, b)
        slope = jax.grad(own_error, 1)
        np.testing.assert_allclose(
            curvature, (slope(a, b + 1e-5) - slope(a, b - 1e-5)) / 2e-5, 1e-6
        )


@pytest.mark.parametrize("slope", [0.0, 1e-25, -1e-20, 1e-19, 1e-15])
def test_float32_gradients_stay_finite_next_to_zero(slope):
    """b / slope is a ratio of two numbers next to nothing; its derivative divides by slope^2."""
    for function in (rectified_square, own_error):
        gradient = jax.grad(function, (0, 1))(jnp.float32(slope), jnp.float32(-0.3 * slope))
        assert np.isfinite(np.array(gradient)).all()
