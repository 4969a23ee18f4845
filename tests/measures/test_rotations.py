"""Rotations against what makes them rotations, and the moments of the Haar law."""

import jax.numpy as jnp
import numpy as np
import pytest

from superposition_cli.measures import rotations
from superposition_cli.toy import rng

KEY = rng.key(0)
COUNT = 2000


@pytest.mark.parametrize("m", [1, 2, 3, 5])
def test_drawn_rotations_keep_lengths_and_handedness(m):
    drawn = np.asarray(rotations.haars(KEY, 8, m), np.float64)
    # Products of m float32 numbers: a few m roundings of 6e-8.
    np.testing.assert_allclose(drawn @ np.swapaxes(drawn, 1, 2), [np.eye(m)] * 8, atol=2e-6)
    assert np.linalg.det(drawn) == pytest.approx(1, abs=1e-5)


def test_haar_moments():
    drawn = np.asarray(rotations.haars(KEY, COUNT, 3), np.float64)
    # A column is uniform on the sphere: mean 0, E u² = 1/3, E u⁴ = 3/(m(m + 2)) = 1/5, so u has
    # variance 1/3 and u² has 1/5 - 1/9 = 4/45; five standard errors of a mean over COUNT.
    assert np.abs(drawn.mean(0)).max() < 5 * np.sqrt(1 / 3 / COUNT)
    assert np.abs((drawn**2).mean(0) - 1 / 3).max() < 5 * np.sqrt(4 / 45 / COUNT)


def test_a_rotation_by_an_angle():
    c, s = np.cos(0.3), np.sin(0.3)
    expected = [
        [c, -s, 0, 0, 0],
        [s, c, 0, 0, 0],
        [0, 0, c, -s, 0],
        [0, 0, s, c, 0],
        [0, 0, 0, 0, 1],
    ]
    np.testing.assert_allclose(rotations.by_angle(jnp.float32(0.3), 5), expected, atol=1e-6)
    half = rotations.by_angle(jnp.float32(0.15), 4)
    np.testing.assert_allclose(half @ half, np.array(expected)[:4, :4], atol=1e-6)
