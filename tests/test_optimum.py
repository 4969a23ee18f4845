"""The exact optimum, held against closed forms and known minima."""

import helpers
import numpy as np
import pytest

from superposition_cli import geometry, optimum, theory
from superposition_cli.errors import InvalidInput

THREE = """\
name: three
model: {kind: relu_output, n_features: 3, n_hidden: 2}
data: {feature_probability: 0.1}
sweep: {parameters: {data.feature_probability: [0.1, 0.3, 0.5, 0.7]}}
"""
LINEAR = """\
name: linear
model: {kind: linear, n_features: 8, n_hidden: 3}
data: {feature_probability: 0.3, importance: {geometric: 0.8}}
"""


def settings(text):
    plan = helpers.plan(text)
    return [plan.setting(cell) for cell in range(plan.experiment.n_cells)]


@pytest.fixture(scope="module")
def three():
    return optimum.of_settings(settings(THREE), starts=8)


def test_three_equal_features_reach_the_known_losses(three):
    """A digon and a dedicated feature cost what two features in one dimension do.

    Their closed form is p²/3 without biases; shrinking and biases save 0.4 % at p = .1 and
    8.5 % at p = .5. The quadrature over three active features is good to 5e-4.
    """
    assert three.loss[0] == pytest.approx(0.996 * 0.1**2 / 3, rel=1.5e-3)
    assert three.loss[2] == pytest.approx(0.915 * 0.5**2 / 3, rel=1.5e-3)
    assert three.loss[:3] == pytest.approx([0.00332, 0.029333, 0.076365], rel=1.5e-3)


def test_three_equal_features_are_a_digon_with_a_third_or_a_triangle(three):
    shapes = [geometry.describe(W).split(" (")[0] for W in three.best["W"]]
    assert len(set(shapes[:3])) == 1
    assert "digon" in shapes[0]
    assert "triangle" in shapes[3]


def test_the_optimum_is_among_the_searches(three):
    assert three.losses.shape == (4, 8)
    assert three.params["W"].shape == (4, 8, 3, 2)
    assert (three.losses >= three.loss[:, None]).all()
    assert three.tied.any(1).all()
    worse = three.losses > three.loss[:, None] * 1.001
    assert not (three.tied & worse).any()
    assert three.best["b"].shape == (4, 3)


def test_given_starts_are_polished_and_neighbours_do_not_matter(three):
    """Six random starts and two of this kind: a digon of unit vectors, and nothing."""
    digon = np.array([[[1, 0], [-1, 0], [0, 1]], np.zeros((3, 2))], float)
    two = settings(THREE)[1:3] * 2
    also = {"W": np.stack([digon] * 4), "b": np.zeros((4, 2, 3))}
    found = optimum.of_settings(two, starts=6, also=also)
    assert found.losses[:2, 6] == pytest.approx(three.loss[1:3], rel=1e-6)
    assert (found.losses[:2, 7] > 2 * found.loss[:2]).all()  # nothing gives way to nothing
    assert found.losses[:2, :6] == pytest.approx(three.losses[1:3, :6], rel=1e-6)
    assert found.losses[2:] == pytest.approx(found.losses[:2], rel=1e-9)


def test_a_linear_model_reaches_its_closed_form():
    """Centred, it keeps the three features with the largest I_i (p/3 - p²/4)."""
    (one,) = settings(LINEAR)
    found = optimum.of_settings([one], starts=4)
    variance = 0.3 / 3 - 0.3**2 / 4
    importance = np.array(one.importance())
    assert found.loss[0] == pytest.approx(variance * importance[3:].sum(), rel=1e-6)
    closed = theory.linear_optimum(importance, variance * np.eye(8), 3)
    assert found.loss[0] == pytest.approx(closed, rel=1e-6)


def test_what_cannot_be_searched_is_refused():
    seven = settings(THREE.replace("n_features: 3", "n_features: 7"))
    with pytest.raises(InvalidInput, match="at most 6 features, not relu_output with 7"):
        optimum.of_settings(seven)
    with pytest.raises(InvalidInput, match="one Spec, not of 2"):
        optimum.of_settings([*settings(THREE), *settings(LINEAR)])
