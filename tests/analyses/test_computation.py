"""Computation by hidden neurons: models made by hand, and one trained run."""

import numpy as np
import pytest
from helpers import commanded, refusal

from superposition_cli.analyses import computation as module
from superposition_cli.toy import evaluate

EYE = np.eye(3)
EXACT_W, EXACT_U = np.hstack([EYE, -EYE]), np.hstack([EYE, EYE])
TINY = """\
name: tiny_abs
model: {kind: abs, n_features: 2, n_hidden: 4}
data: {feature_probability: 0.5, low: -1.0, high: 1.0, target: abs}
train: {optimizer: adam, learning_rate: 2e-2, steps: 50, batch_size: 64, init: kaiming_uniform}
sweep: {parameters: {data.feature_probability: [0.5, 1.0]}}
"""


def test_the_exact_model_has_one_neuron_for_each_side_of_a_feature():
    found = module.measured(EXACT_W, EXACT_U, np.zeros(3))
    assert found == {
        "computed": 3, "two_sided": 3, "one_of_each": 3, "pairs": 3, "plus": 3, "minus": 3,
        "live": 6, "monosemantic": 6, "polysemantic_share": 0, "median_features": 1,
        "asymmetric": 0,
    }  # fmt: skip


def test_canonical_form_computes_the_same_with_input_weights_of_one():
    generator = np.random.default_rng(0)
    W, U = generator.normal(size=(2, 4, 5))
    W[:, 2] = 0
    scaled_W, scaled_U = module.canonical(W, U)
    assert np.abs(scaled_W).max(axis=0) == pytest.approx([1, 1, 0, 1, 1])
    assert not scaled_U[:, 2].any()
    x = generator.normal(size=(4, 9))
    answers = [u @ np.maximum(w.T @ x, 0) for w, u in ((W, U), (scaled_W, scaled_U))]
    assert answers[0] == pytest.approx(answers[1])
    # scaling the neurons of a model beforehand makes no difference
    scale = np.array([1, 2, 1, 0.5, 3])
    again = module.canonical(W * scale, U / scale)
    assert again[0] == pytest.approx(scaled_W)
    assert again[1] == pytest.approx(scaled_U)


def test_dead_and_polysemantic_neurons():
    # neuron 0 reads feature 0, neuron 1 both alike, and neuron 2 answers nothing
    W, U = np.array([[1, 1, 1], [0, 1, 0]]), np.array([[1, 0.2, 0], [0, 1, 0]])
    found = module.measured(W, U, np.array([0.4, 0.6]))
    assert (found["live"], found["monosemantic"], found["computed"]) == (2, 1, 1)
    assert (found["plus"], found["minus"], found["two_sided"]) == (2, 0, 0)
    assert found["polysemantic_share"] == 0.5
    assert found["median_features"] == pytest.approx(1.5)  # of 1 and (1 + 1)² / (1 + 1)


def motif(W, U):
    return module.asymmetric(*module.canonical(np.array(W, float), np.array(U, float)))


def test_asymmetric_superposition():
    # One neuron with inputs (2, -1/2) and outputs (1/2, 2): 1 for x_0 > 0 and 1 for x_1 < 0,
    # but 4 on the second output for x_0 = 1, which neuron 1 takes back.
    assert motif([[2, 1], [-0.5, 0]], [[0.5, 0], [2, -4]]) == [module.Motif(0, 0, 1, 1)]
    # nobody takes it back; it is taken back on the other side; the weights are alike
    assert motif([[2, 1], [-0.5, 0]], [[0.5, 0], [2, 0]]) == []
    assert motif([[2, -1], [-0.5, 0]], [[0.5, 0], [2, -4]]) == []
    assert motif([[1, 1], [-1, 0]], [[1, 0], [1, -4]]) == []
    # 10 : 1 is out of range; outputs that are no reciprocals
    assert motif([[5, 1], [-0.5, 0]], [[0.2, 0], [2, -4]]) == []
    assert motif([[2, 1], [-0.5, 0]], [[2, 0], [2, -4]]) == []


def test_numbers_of_the_whole_run():
    def row(share):
        return {"loss_normalised": 0.1, "computed": 2, "asymmetric": 1, "polysemantic_share": share}

    rows = tuple(map(row, (0.5, 0.0, 0.4)))
    found = module.overall(np.array([0.1, 1.0, 0.01]), rows)
    assert found["polysemantic_fall"] == pytest.approx(0.1)  # from p = .1 to .01
    assert (found["cells"], found["most_computed"], found["asymmetric"]) == (3, 2, 3)
    assert module.overall(np.array([1.0, 1.0, 0.1]), rows)["polysemantic_fall"] is None
    assert module.overall(np.array([1.0, 0.1]), tuple(map(row, (0, 1))))["polysemantic_fall"] == 0


def test_costs_of_a_run_weigh_up_to_its_loss_exactly_and_sampled(tmp_path, monkeypatch):
    results = commanded(tmp_path, TINY)
    found = module.computation(results)
    assert [row["data.feature_probability"] for row in found.rows] == [0.5, 1.0]
    assert {name: array.shape for name, array in found.arrays.items()} == {
        "cell": (2,), "p": (2,), "W": (2, 2, 4), "U": (2, 2, 4), "b": (2, 2), "cost": (2, 2),
        "importance": (2, 2), "features_per_neuron": (2, 4),
    }  # fmt: skip
    # both features have the same variance, so the loss is the mean cost; float32 throughout
    loss = [row["loss_normalised"] for row in found.rows]
    assert found.arrays["cost"].mean(1) == pytest.approx(loss, rel=1e-4)
    monkeypatch.setattr(evaluate, "has_expected_loss", lambda spec: False)
    module._feature_errors.clear_cache()
    model = results.model(1)
    sampled = module.costs(results.plan.setting(1), model)
    x = np.random.default_rng(0).uniform(-1, 1, (2, 131_072))
    y = np.maximum(model["U"] @ np.maximum(model["W"].T @ x, 0) + model["b"][:, None], 0)
    each = (np.abs(x) - y) ** 2 * 12  # |x| is uniform in [0, 1]: its variance is 1/12
    # two means over 131,072 samples each
    error = each.std(axis=1) * (2 / 131_072) ** 0.5
    assert (np.abs(sampled - each.mean(axis=1)) < 5 * error).all()
    module._feature_errors.clear_cache()


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.kind=relu_hidden", "kind abs"),
        ("data.target=identity", "target abs"),
        ("data.low=0", "both signs"),
        ("sweep.parameters={model.n_hidden: [4, 5]}", "same n_features"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("computation", TINY, override)
