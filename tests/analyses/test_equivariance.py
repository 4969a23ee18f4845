"""Training from a rotated start: gradient descent commutes with it, Adam does not."""

import numpy as np
import pytest
from helpers import commanded, refusal

from superposition_cli.analyses import equivariance as module

TINY = """\
name: tiny
model: {n_features: 5, n_hidden: 2}
data: {feature_probability: 0.3}
train: {learning_rate: 0.05, steps: 40, batch_size: 64, dtype: float64, eval_samples: 64}
sweep: {parameters: {train.optimizer: [sgd, adam]}}
"""


def test_gradient_descent_commutes_with_a_rotation_and_adam_does_not(tmp_path):
    found = module.equivariance(commanded(tmp_path, TINY))
    descent, adam = found.arrays["error"]
    # float64, 40 steps: rounding only
    assert descent.max() < 1e-12
    assert adam[0] < 1e-15
    assert adam[-1] > 0.01
    assert found.arrays["step"][[0, -1]].tolist() == [0, 40]
    assert [row["train.optimizer"] for row in found.rows] == ["sgd", "adam"]
    assert found.rows[1]["error"] == pytest.approx(adam[-1])
    assert np.isfinite(found.arrays["error"]).all()


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.n_hidden=1", "no rotations"),
        ("sweep.parameters={train.steps: [1, 2]}", "the same steps in every cell"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("equivariance", TINY, override)
