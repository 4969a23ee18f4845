"""The exact optimum, held against closed forms and known minima."""

import helpers
import numpy as np
import pytest

from superposition_cli.analyses import optimum
from superposition_cli.errors import InvalidInput
from superposition_cli.measures import geometry

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
sweep: {parameters: {data.feature_probability: [0.1, 0.3]}}
"""
P = np.array([0.1, 0.3])
VARIANCE = P / 3 - P**2 / 4
IMPORTANCE = 0.8 ** np.arange(8)


def settings(text):
    plan = helpers.plan(text)
    return [plan.setting(cell) for cell in range(plan.experiment.n_cells)]


@pytest.fixture(scope="module")
def linear():
    """Four random starts, and one that has no gradient: nothing is represented."""
    zeros = {"W": np.zeros((2, 1, 8, 3)), "b": np.zeros((2, 1, 8))}
    return optimum.of_settings(settings(LINEAR), starts=4, also=zeros)


def test_a_linear_model_reaches_its_closed_form(linear):
    """It keeps the three features with the largest I_i (p/3 - p²/4) and loses the others."""
    assert linear.loss == pytest.approx(VARIANCE * IMPORTANCE[3:].sum(), rel=1e-6)
    gram = linear.best["W"] @ linear.best["W"].transpose(0, 2, 1)
    assert gram == pytest.approx(np.stack([np.diag([1] * 3 + [0] * 5)] * 2), abs=1e-3)


def test_every_search_is_kept_and_given_starts_come_last(linear):
    assert linear.losses.shape == (2, 5)
    assert linear.params["W"].shape == (2, 5, 8, 3)
    assert linear.losses[:, 4] == pytest.approx(VARIANCE * IMPORTANCE.sum(), rel=1e-6)
    assert linear.params["W"][:, 4] == pytest.approx(0)
    assert linear.tied[:, :4].any(axis=1).all()
    assert not linear.tied[:, 4].any()


def test_neighbours_do_not_matter(linear):
    """The same settings in another order; the chunks have the same size."""
    zeros = {"W": np.zeros((2, 1, 8, 3)), "b": np.zeros((2, 1, 8))}
    again = optimum.of_settings(settings(LINEAR)[::-1], starts=4, also=zeros)
    assert again.losses[::-1] == pytest.approx(linear.losses, rel=1e-9)


def test_what_cannot_be_searched_is_refused():
    seven = settings(THREE.replace("n_features: 3", "n_features: 7"))
    with pytest.raises(InvalidInput, match="79,886 nodes for 128 activity patterns of 7"):
        optimum.of_settings(seven)
    with pytest.raises(InvalidInput, match="one Spec, not of 2"):
        optimum.of_settings([*settings(THREE), *settings(LINEAR)])


@pytest.mark.slow
def test_three_equal_features_reach_the_known_losses_and_shapes():
    """A digon and a dedicated feature cost what two features in one dimension do.

    Their closed form is p²/3 without biases; shrinking and biases save 0.4 % at p = .1 and
    8.5 % at p = .5. The quadrature over three active features is good to 5e-4. From p = .55
    on a triangle pays.
    """
    found = optimum.of_settings(settings(THREE), starts=8)
    assert found.loss[0] == pytest.approx(0.996 * 0.1**2 / 3, rel=1.5e-3)
    assert found.loss[2] == pytest.approx(0.915 * 0.5**2 / 3, rel=1.5e-3)
    assert found.loss[:3] == pytest.approx([0.00332, 0.029333, 0.076365], rel=1.5e-3)
    shapes = [geometry.describe(W).split(" (")[0] for W in found.best["W"]]
    assert shapes == ["1 digon, 1 dedicated"] * 3 + ["1 triangle"]


@pytest.mark.slow
def test_an_antipodal_pair_shrinks_before_it_gives_way():
    """Norms by p at equal importance, from searches by others in float64, to half a digit."""
    text = THREE.replace("n_features: 3, n_hidden: 2", "n_features: 2, n_hidden: 1")
    text = text.replace("[0.1, 0.3, 0.5, 0.7]", "[0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.72]")
    W = optimum.of_settings(settings(text), starts=16).best["W"][..., 0]
    assert (W[:, 0] * W[:, 1] < 0).all()
    norms = np.array([0.989, 0.968, 0.930, 0.868, 0.804, 0.759])
    assert np.abs(W[:6, 0]) == pytest.approx(norms, abs=1.5e-3)
    assert np.abs(W[:6, 1]) == pytest.approx(norms, abs=1.5e-3)
    assert np.ptp(np.abs(W[6])) > 0.2
