"""Capacity and its allotment by importance: hand-made embeddings, no training."""

import numpy as np
import pytest
from helpers import refusal

from superposition_cli import config
from superposition_cli.analyses import capacity as module
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid

TEXT = """\
name: allotted
model: {n_features: 4, n_hidden: 2}
data: {feature_probability: 0.1, importance: {geometric: 0.7}}
sweep: {parameters: {data.feature_probability: [1.0, 0.1]}}
"""
DEDICATED = np.array([[1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
SHARED = np.array([[1, 0], [0, 1], [0, -1], [0, 0]], np.float32)


class Held:
    """A finished run with given embeddings, one model per cell."""

    def __init__(self, *embeddings, text=TEXT):
        self.embeddings = embeddings
        self.selected = {i: i for i, W in enumerate(embeddings) if W is not None}
        self.plan = grid.plan(config.loads(text, "allotted.yaml"), lambda spec, n: n)

    def model(self, number):
        W = self.embeddings[number]
        return {"W": W, "b": np.zeros(len(W), np.float32)}


def test_dedicated_and_shared_dimensions():
    found = module.capacity(Held(DEDICATED, SHARED))
    assert found.arrays["capacity"] == pytest.approx(np.array([[1, 1, 0, 0], [1, 0.5, 0.5, 0]]))
    assert found.arrays["importance"] == pytest.approx(np.tile(0.7 ** np.arange(4), (2, 1)))
    counts = [(row["full"], row["fractional"], row["none"]) for row in found.rows]
    assert counts == [(2, 0, 2), (1, 2, 1)]
    assert [row["data.feature_probability"] for row in found.rows] == [1.0, 0.1]
    assert [row["sum_capacity"] for row in found.rows] == pytest.approx([2, 2])
    assert [row["rise"] for row in found.rows] == pytest.approx([0, 0])
    assert found.numbers == pytest.approx(
        {"cells": 2, "sum_share_least": 1, "sum_share_most": 1, "smallest": 0, "largest": 1}
    )


def test_costs_of_ignored_dedicated_and_shared_features():
    p, variance = 0.1, 0.1 / 3 - 0.01 / 4
    cost = module.capacity(Held(DEDICATED, SHARED)).arrays["cost"][1]
    # the first feature is reproduced, the last answered by 0: E x² = p / 3; the two on a
    # line lose the lesser of both where both are active: p² E min² = p² / 6 each
    expected = np.array([0, p**2 / 6, p**2 / 6, p / 3]) / variance
    # the grid of the interference law: (range 1 / 1020)²/6 relative to E u² = 1/3
    assert cost == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_other_models_and_data_have_no_costs():
    for change in ("model.kind=linear", "data.high=2", "data.target=abs"):
        setting = config.loads(TEXT, "allotted.yaml", [change]).base
        assert np.isnan(module.costs({}, setting)).all()


def test_capacity_of_unequal_vectors_on_a_line():
    # W = (2, 1)ᵀ: C_1 = 16 / (16 + 4), C_2 = 1 / (4 + 1); beside two vectors of length 0
    W = np.array([[2, 0], [1, 0], [0, 0], [0, 0]])
    assert module.capacities(W) == pytest.approx([0.8, 0.2, 0, 0])


def test_cells_without_a_model_are_left_out():
    found = module.capacity(Held(None, SHARED))
    assert found.arrays["cell"].tolist() == [1]
    assert [row["data.feature_probability"] for row in found.rows] == [0.1]


def test_rise_is_the_most_that_goes_to_a_less_important_feature():
    C, importance = np.array([0.5, 0.45, 0.6, 0.0]), np.array([1, 0.7, 0.49, 0.343])
    assert module.rise(C, importance) == pytest.approx(0.15)
    # not neighbours only: from .5 by way of .45, and whatever the order of the features
    assert module.rise(np.array([0.5, 0.52, 0.56]), np.array([3, 2, 1])) == pytest.approx(0.06)
    shuffled = np.array([2, 0, 3, 1])
    assert module.rise(C[shuffled], importance[shuffled]) == pytest.approx(0.15)


def test_equally_important_features_have_no_order():
    assert module.rise(np.array([0.2, 0.9]), np.ones(2)) is None
    # features 2 and 3 are equal, the first is more important than both
    assert module.rise(np.array([0.5, 0.2, 0.4]), np.array([1, 0.5, 0.5])) == 0


def test_runs_without_models_or_with_several_sizes_are_refused():
    with pytest.raises(InvalidInput, match="at least one cell"):
        module.capacity(Held(None, None))
    sizes = TEXT.replace("data.feature_probability: [1.0, 0.1]", "model.n_features: [4, 5]")
    assert "same n_features" in refusal("capacity", sizes)
