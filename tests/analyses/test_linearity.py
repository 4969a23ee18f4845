"""Linear representations: hand-made embeddings with known gaps, probes and responses."""

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import refusal

from superposition_cli import config
from superposition_cli.analyses import linearity as module
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid
from superposition_cli.toy import metrics

P = 0.1
TEXT = f"""\
name: linear
model: {{n_features: 4, n_hidden: 2}}
data: {{feature_probability: {P}}}
sweep: {{parameters: {{model.kind: [relu_output, relu_hidden]}}}}
"""
DIGONS = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
LOSS = 0.01


class Held:
    """A finished run with given embeddings, one model per cell."""

    def __init__(self, *embeddings, text=TEXT):
        self.embeddings = embeddings
        self.selected = {i: i for i, W in enumerate(embeddings) if W is not None}
        self.averages, self.cells = False, {"loss": np.full(len(embeddings), LOSS)}
        self.plan = grid.plan(config.loads(text, "linear.yaml"), lambda spec, n: n)

    def model(self, number):
        W = self.embeddings[number]
        return {"W": W, "b": np.zeros(len(W), np.float32)}


@pytest.fixture(scope="module")
def found():
    """Two digons, read with and without a ReLU on the hidden layer."""
    return module.linearity(Held(DIGONS, DIGONS))


def test_digons_are_superposed_and_half_negative(found):
    for row in found.rows:
        assert (row["represented"], row["rank"], row["superposed"]) == (4, 2, True)
        assert row["negative_weights"] == pytest.approx(0.5)


def test_a_linear_hidden_layer_is_additive(found):
    assert found.rows[0]["additivity_gap"] < 1e-12  # (3 roundings of 2^-24)² and some
    assert found.numbers["linear_gap_most"] == found.rows[0]["additivity_gap"]


def test_additivity_by_hand():
    # h = ReLU(x_0 - x_1); (.8, 0) + (0, .3): .5 against .8 + 0; alone, nothing is added up
    x, y = np.array([[0.8, 0.8], [0, 0]]), np.array([[0, 0], [0.3, 0]])
    gap = module.additivity(lambda z: jnp.maximum(z[:1] - z[1:], 0), x, y)
    np.testing.assert_allclose(gap, [0.3**2, 0.5**2], rtol=1e-6)


def test_a_rectified_digon_is_not_additive():
    # h(x + y) - h(x) - h(y) = (a - b)₊ - a = -min(a, b) for a, b in U[0, 1]:
    # E min² = 1/6 by E (a - b)₊² = 1/12 is 2. Of 131,072 samples an eighth has both active
    # and in different hands: relative standard errors (E min⁴ = 1/15, E (a - b)₊⁴ = 1/30)
    # of .009 and .015, here taken together and five times.
    text = "name: one\nmodel: {kind: relu_hidden, n_features: 2, n_hidden: 1}\n"
    held = Held(np.array([[1], [-1]], np.float32), text=text + "data: {feature_probability: 0.5}\n")
    assert module.linearity(held).rows[0]["additivity_gap"] == pytest.approx(2, rel=0.12)


def test_probes_read_half_of_each_feature_of_a_digon(found):
    np.testing.assert_allclose(found.arrays["probe_expected"][0], 0.5, atol=1e-12)
    # h = x_0 - x_1: half of the slope's and of the variances' sampling error; a variance with
    # kurtosis of about 16 is known to sqrt(16 / 131,072) = .011, twice (fit, held out), 3 times
    np.testing.assert_allclose(found.arrays["probe_r2"][0], 0.5, atol=0.033)
    row = found.rows[0]
    assert row["probe_deviation"] == np.abs(found.arrays["probe_r2"][0] - 0.5).max()
    assert row["probe_sum"] == pytest.approx(found.arrays["probe_r2"][0].sum())
    variance = P / 3 - P**2 / 4
    assert row["read_out_ratio"] == pytest.approx(LOSS / (4 * variance / 2), rel=0.06)


def test_only_a_linear_hidden_layer_has_a_closed_form(found):
    assert np.isnan(found.arrays["probe_expected"][1]).all()
    assert found.rows[1]["probe_deviation"] is None
    assert found.rows[1]["probe_sum_off"] is None
    assert module.overall([dict(found.rows[1])])["linear_gap_most"] is None


def test_a_vector_raises_its_own_output_and_lowers_the_opposite_one(found):
    # ReLU(h + 1) - ReLU(h) = 1 - h₋ and ReLU(-h - 1) - ReLU(-h) = -h₋ for h = x_0 - x_1 >= -1,
    # E h₋ = p (1 - p)/2 + p²/6; its standard error over 8,192 samples .17/90 = .0019, five times
    lost = P * (1 - P) / 2 + P**2 / 6
    first = found.arrays["response"][0, 0]
    np.testing.assert_allclose(first, [1 - lost, -lost, 0, 0], atol=0.0095)
    np.testing.assert_allclose(found.arrays["specificity"][0], 1 - lost, atol=0.0095)
    assert found.rows[0]["steered"] == found.numbers["steered_least"] == 1


def test_specificity_by_hand():
    response = np.array([[2.0, -1, 1], [0.5, 0, -0.5], [0, 0, 0]])
    specific = module.specificity(response)
    np.testing.assert_allclose(specific, [0.5, 0, np.nan])
    kept = module.of_response(response, specific, np.array([True, True, False]))
    assert kept == {"steered": 0.5, "specificity_mean": 0.25}
    nothing = module.of_response(response, specific, np.zeros(3, bool))
    assert nothing == {"steered": None, "specificity_mean": None}


def test_held_out_r2_is_that_of_least_squares():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 40))  # fit and held out, three features
    h = np.abs(np.stack([rng.normal(size=(2, 3)) @ one for one in x]))
    expected = []
    for i in range(3):
        table = [np.c_[np.ones(40), one.T] for one in h]
        slope = np.linalg.lstsq(table[0], x[0, i], rcond=None)[0]
        error = np.mean((x[1, i] - table[1] @ slope) ** 2)
        expected.append(1 - error / np.var(x[1, i]))
    moments = []
    for own, hidden in zip(x, h, strict=True):
        covariance = np.cov(np.r_[own, hidden], bias=True)
        parts = (np.diagonal(covariance)[:3], covariance[3:, 3:], covariance[3:, :3])
        moments.append(module.Moments(own.mean(axis=1), hidden.mean(axis=1), *parts))
    np.testing.assert_allclose(module.probe_r2(*moments), expected, rtol=1e-10)


def test_neurons_of_several_features_need_no_superposition():
    # two orthogonal features, turned by 45 degrees: each neuron has half of both
    W = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    np.testing.assert_allclose(metrics.features_per_neuron(W), 2, rtol=1e-6)
    np.testing.assert_allclose(metrics.superposition(W), 0, atol=1e-12)
    assert module.of_embedding(W)["superposed"] is False


def test_the_zero_matrix_represents_nothing():
    nothing = {"represented": 0, "rank": 0, "superposed": False, "negative_weights": 0}
    assert module.of_embedding(np.zeros((4, 2))) == nothing


def test_a_read_out_that_leaves_nothing_is_no_measure():
    setting = Held(DIGONS, DIGONS).plan.setting(0)
    assert module.read_out_ratio(setting, LOSS, np.ones(4)) is None


def test_runs_it_is_not_for_are_refused():
    with pytest.raises(InvalidInput, match="at least one cell"):
        module.linearity(Held(None, None))
    assert "data.target identity, not abs" in refusal("linearity", TEXT, "data.target=abs")
    sizes = TEXT.replace("model.kind: [relu_output, relu_hidden]", "model.n_features: [4, 5]")
    assert "same n_features" in refusal("linearity", sizes)
