"""The decomposition of the loss: hand arithmetic, the training losses of a run, refusals."""

import numpy as np
import pytest
from helpers import commanded, refusal

from superposition_cli.analyses import decomposition as module

TINY = """\
name: tiny_decomposition
model: {kind: relu_output, n_features: 4, n_hidden: 2}
data: {feature_probability: 0.1, importance: {geometric: 0.9}}
train:
  objective: population
  optimizer: adam
  learning_rate: 2e-2
  steps: 60
  snapshots: 8
sweep: {parameters: {model.kind: [linear, relu_output], data.feature_probability: [0.3, 0.05]}}
"""
LINEAR, RELU = slice(0, 2), slice(2, 4)


def column(name):
    return module.TERMS.index(name)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return commanded(tmp_path_factory.mktemp("decomposition"), TINY)


@pytest.fixture(scope="module")
def found(run):
    return module.decomposition(run)


def test_negative_share_by_hand():
    # W = (1, -1, 1/2)ᵀ: M_12 = -1, M_13 = 1/2, M_23 = -1/2; (1 + 1/4) / (1 + 1/4 + 1/4)
    assert module.negative_share(np.array([[1.0], [-1.0], [0.5]])) == pytest.approx(5 / 6)
    assert module.negative_share(np.array([[1.0, 0.0], [0.0, 1.0]])) is None


def test_each_kind_has_its_own_terms_and_every_share_is_of_the_sum(found):
    for row in found.rows:
        given = {name for name in module.TERMS if row[f"{name}_share"] is not None}
        both = {"benefit_deficit", "interference"}
        own = {"bias"} if row["kind"] == "linear" else {"silence", "pairs", "remainder"}
        assert given == both | own
        assert sum(row[f"{name}_share"] for name in given) == pytest.approx(1)
    assert {tuple(row) for row in found.rows} == {tuple(found.rows[0])}
    assert [row["expected_active"] for row in found.rows] == pytest.approx([1.2, 0.2] * 2)


def test_steps_run_from_the_initialisation_to_the_trained_model(run, found):
    steps = found.arrays["steps"]
    assert (steps[0], steps[-2], steps[-1]) == (0, 59, 60)
    assert found.arrays["terms"].shape == (4, len(steps), len(module.TERMS))
    assert np.nansum(found.arrays["terms"], axis=2)[:, -1] == pytest.approx(
        [row["loss_terms"] for row in found.rows]
    )


def test_terms_add_up_to_the_losses_that_training_descended(run, found):
    # the population objective is the loss of the parameters before each update, in float32.
    # Linear: closed form, rounding of some 10 products. ReLU with three or four of four
    # features active: quadrature, which one more node per axis changes by less than .5 %.
    at = np.searchsorted(run.history["loss_step"], found.arrays["steps"][:-1])
    expected = run.history["loss"][:, at]
    total = np.nansum(found.arrays["terms"], axis=2)[:, :-1]
    np.testing.assert_allclose(total[LINEAR], expected[LINEAR], rtol=1e-5)
    np.testing.assert_allclose(total[RELU], expected[RELU], rtol=0.01)
    assert found.numbers["loss_gap_linear"] < 1e-5
    assert found.numbers["loss_gap_relu"] < 0.01


def test_v62_linear_terms_add_up_at_every_step(found):
    """Terms of trained linear models add up to the loss at every kept step, within 1e-13."""
    # float64: about n² = 16 additions of rounding 1e-16 each
    assert found.numbers["identity_gap"] < 1e-13


def test_linear_terms_by_hand(run, found):
    W, b = (run.weights[name][1].astype(float) for name in ("W", "b"))
    importance, p = 0.9 ** np.arange(4), 0.05
    M, variance = W @ W.T, p / 3 - p**2 / 4
    deficit = importance @ (1 - np.diag(M)) ** 2 * variance
    interference = importance @ (M**2 - np.diag(np.diag(M) ** 2)).sum(1) * variance
    bias = importance @ ((np.eye(4) - M) @ np.full(4, p / 2) - b) ** 2
    last = found.arrays["terms"][1, -1]
    assert last[:3] == pytest.approx([deficit, interference, bias], rel=1e-10)


def test_silence_is_what_positive_biases_cost_without_input(run, found):
    importance = 0.9 ** np.arange(4)
    for row, p in ((2, 0.3), (3, 0.05)):
        b = np.concatenate([run.history["snapshot_b"][row], run.weights["b"][row][None]])
        silence = (1 - p) ** 4 * np.maximum(b.astype(float), 0) ** 2 @ importance
        assert found.arrays["terms"][row, :, column("silence")] == pytest.approx(silence)
        assert silence.any()


def test_numbers_are_null_without_a_cell_of_the_kind():
    row = {
        "kind": "relu_output",
        "loss_gap": 0.003,
        "identity_gap": None,
        "interference_share": 0.1,
    }
    assert module.overall([row, {**row, "loss_gap": 0.001}]) == {
        "cells": 2, "identity_gap": None, "loss_gap_linear": None, "loss_gap_relu": 0.003,
        "interference_share_linear": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("sweep.parameters={model.kind: [linear, relu_hidden]}", "not relu_hidden"),
        ("data.target=abs", "target identity"),
        ("data.high=2", "U[0, 1]"),
        ("sweep.parameters={train.steps: [1, 2]}", "same n_features, n_hidden and steps"),
        ("sweep.parameters={model.n_hidden: [1, 2]}", "same n_features, n_hidden and steps"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("decomposition", TINY, override)


def test_linear_models_may_have_magnitudes_of_any_range():
    linear = "sweep.parameters={model.kind: [linear]}"
    assert refusal("decomposition", TINY, linear, "data.low=-1") == ""
