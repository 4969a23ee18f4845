"""Dense and sparse features: hand-made embeddings, no training."""

import numpy as np
import pytest
from helpers import refusal

from superposition_cli import config
from superposition_cli.analyses import density as module
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid

TEXT = """\
name: mixed
model: {n_features: 3, n_hidden: 2}
data: {feature_probability: [0.9, 0.1, 0.1]}
sweep: {parameters: {data.importance: [1.0, {inverse_variance: true}, [1, 2, 3]]}}
"""
DIGON = np.array([[1, 0], [-1, 0], [0, 0]], np.float32)  # one dense and one sparse feature
APART = np.array([[0, 0], [1, 0], [0, 2]], np.float32)  # sparse features only


class Held:
    """A finished run with given embeddings, one model per cell."""

    def __init__(self, *embeddings, text=TEXT):
        self.embeddings = embeddings
        self.selected = {i: i for i, W in enumerate(embeddings) if W is not None}
        self.plan = grid.plan(config.loads(text, "mixed.yaml"), lambda spec, n: n)

    def model(self, number):
        return {"W": self.embeddings[number]}


def test_both_groups_by_hand():
    found = module.density(Held(DIGON, APART, None))
    shared, apart = found.rows
    # directions are W_i / (1e-5 + norm), so squares are 2e-5 short
    assert found.arrays["met"][0] == pytest.approx([0.1, 0.9, 0], rel=3e-5)
    assert found.arrays["caused"][0] == pytest.approx([0.9, 0.1, 0], rel=3e-5)
    assert (shared["p_dense"], shared["features_dense"], shared["features_sparse"]) == (0.9, 1, 2)
    assert (shared["D_dense"], shared["D_sparse"]) == pytest.approx((0.5, 0.25))
    assert (shared["norm_dense"], shared["norm_sparse"]) == pytest.approx((1, 0.5))
    assert (shared["ratio_D"], shared["ratio_caused"]) == pytest.approx((0.5, 0.05 / 0.9))
    assert (apart["D_sparse"], apart["norm_sparse"], apart["ratio_D"]) == (1, 1.5, None)
    assert found.arrays["cell"].tolist() == [0, 1]


def test_what_features_have_in_common_is_named():
    found = module.density(Held(DIGON, DIGON, DIGON))
    assert [row["weighting"] for row in found.rows] == ["equal", "inverse_variance", "other"]


def test_other_runs_are_refused():
    with pytest.raises(InvalidInput, match="at least one cell"):
        module.density(Held(None, None, None))
    assert refusal("density", TEXT) == ""
    for p in ("0.1", "[0.9, 0.1, 0.2]"):
        text = TEXT.replace("[0.9, 0.1, 0.1]", p)
        assert "two different probabilities" in refusal("density", text)
    text = TEXT.replace("[0.9, 0.1, 0.1]", "{base: 0.1, 0: 0.9}").split("sweep")[0]
    text += "sweep: {parameters: {model.n_features: [3, 4]}}\n"
    assert "same n_features" in refusal("density", text)
