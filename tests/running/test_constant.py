"""Inputs of one magnitude in a whole run: one-hot units, trained and judged without samples."""

import numpy as np
import pytest
from helpers import trained

UNITS = """\
name: onehot-unit
model: {kind: relu_output, n_features: 8, n_hidden: 2}
data: {kind: one_hot, low: 1, high: 1}
train:
  objective: population
  optimizer: sgd
  momentum: 0.9
  learning_rate: 1e-2
  steps: 60
  batch_size: 128
  loss_reduction: mean_features
  restarts: 4
  select: best
  snapshots: 3
metrics: [feature_norms, n_represented]
"""


def losses(W, b):
    """The mean over the eight unit vectors of the squared error, for W [K, 8, 2] and b [K, 8]."""
    y = np.maximum(W @ W.transpose(0, 2, 1) + b[:, :, None], 0)  # column j answers e_j
    return ((np.eye(8) - y) ** 2).sum(1).mean(1)


@pytest.mark.parametrize("objective", ["population", "sampled"])
def test_one_hot_units_are_judged_by_the_eight_there_are(tmp_path, objective):
    """Whatever trains them, losses have no error; eight features vary by 1/8 - 1/64 each."""
    run = trained(tmp_path / "units", UNITS, f"train.objective={objective}").run
    metrics, weights = run.read(0, "metrics"), run.read(0, "weights")
    W, b = (np.asarray(weights[name], np.float64) for name in ("W", "b"))
    # a few dozen float32 operations on numbers of order 1
    assert metrics["loss"] == pytest.approx(losses(W, b), rel=1e-5)
    assert metrics["loss_error"].tolist() == [0] * 4
    assert metrics["null_loss"] == pytest.approx(7 / 8, rel=1e-6)


def test_the_loss_that_is_descended_is_that_of_the_units(tmp_path):
    run = trained(tmp_path / "units", UNITS, "train.steps=8", "train.snapshots=4").run
    past = run.read(0, "history")
    snapshots = zip(
        *(np.asarray(past[f"snapshot_{name}"], np.float64) for name in "Wb"), strict=True
    )
    told = np.stack([losses(W, b) for W, b in snapshots])  # [K, S]
    at = np.searchsorted(past["loss_step"], past["snapshot_step"])
    assert (past["loss_step"][at] == past["snapshot_step"]).all()
    assert past["loss"][:, at] == pytest.approx(told, rel=1e-5)
    assert (past["loss"][:, -1] < past["loss"][:, 0]).all()
