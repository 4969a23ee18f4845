"""Tied features: embeddings by hand, closed forms of arrangements, and trained pairs."""

import numpy as np
import pytest
from conftest import make_spec
from helpers import commanded, plan, refusal

from superposition_cli import analyses
from superposition_cli.analyses import sets as module
from superposition_cli.report import drawings
from superposition_cli.theory import activity
from superposition_cli.toy import objectives

PAIRS = ((0, 1), (2, 3))
TINY = """\
name: tiny_pairs
model: {n_features: 4, n_hidden: 2}
data: {kind: correlated, sets: [[0, 1], [2, 3]], feature_probability: 0.1}
train:
  objective: population
  optimizer: adam
  learning_rate: 5e-2
  schedule: cosine
  steps: 200
  restarts: 8
sweep: {parameters: {data.feature_probability: [0.4, 0.1]}}
"""


def at(*degrees, length=1.0):
    """Vectors in the plane at the given angles."""
    angles = np.radians(degrees)
    return length * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def measured(W, members=PAIRS):
    return module.embedding(np.asarray(W, float), module.partition(members, len(W)))


def test_an_octahedron_of_two_bases():
    W = np.concatenate([np.eye(3), -np.eye(3)])
    found = measured(W, ((0, 1, 2), (3, 4, 5)))
    assert found["within_max_abs"] == found["within_rms"] == found["within_antipode"] == 0
    assert (found["between_least"], found["between_most"]) == (-1, 0)
    assert found["between_antipode"] == -1
    assert found["between_mean_abs"] == pytest.approx(1 / 3)
    assert found["between_rms"] == pytest.approx(3**-0.5)
    assert found["rms_ratio"] is found["adjacent_sets"] is found["smallest_gap"] is None
    assert found["n_collapsed"] == 0


def test_digons_within_sets():
    found = measured(at(0, 180, 90, 270))
    assert (found["within_least"], found["within_most"]) == pytest.approx((-1, -1))
    assert found["within_antipode"] == pytest.approx(-1)
    assert found["between_max_abs"] == pytest.approx(0, abs=1e-12)
    assert (found["adjacent_sets"], found["n_collapsed"]) == (0, 0)
    assert (found["smallest_gap"], found["largest_gap"]) == pytest.approx((90, 90))


def test_the_antipode_of_the_worst_feature_counts():
    found = measured(at(0, 90, 180, 210))  # feature 1 is 120 degrees from feature 3
    assert found["between_antipode"] == pytest.approx(-0.5)
    assert found["between_least"] == pytest.approx(-1)


def test_collapsed_sets():
    parts = module.partition(PAIRS, 4)
    both = at(0, 0, 90, 90, length=0.71)
    assert module.collapsed(both, parts) == 2
    assert module.collapsed(at(0, 18, 90, 109), parts) == 1  # cosines .951 and .946
    assert module.collapsed(at(0, 180, 90, 270), parts) == 0
    assert module.collapsed(both * np.array([[1, 1, 1, 0.4]]).T, parts) == 1  # one of .28
    assert module.collapsed(both, module.partition(((0,), (1,), (2, 3)), 4)) == 1


def test_adjacent_sets_around_the_plane():
    pairs = module.partition(((0, 1), (2, 3), (4, 5)), 6)
    assert module.adjacent(at(350, 50, 110, 170, 230, 290), pairs) == 3
    assert module.adjacent(at(0, 180, 60, 120, 240, 300), pairs) == 2
    assert module.adjacent(at(0, 180, 60, 240, 120, 300), pairs) == 0
    lengths = np.array([[1, 1, 1, 1, 1, 0.2]]).T
    assert module.adjacent(lengths * at(0, 60, 120, 180, 240, 300), pairs) == 2
    assert module.adjacent(at(0, 120, 240), module.partition(((0, 1, 2),), 3)) == 1


def test_short_vectors_have_no_direction():
    W = at(0, 90, 180, 270)
    W[3] *= 0.2
    found = measured(W)
    assert (found["norm_least"], found["norm_most"]) == pytest.approx((0.2, 1))
    assert found["between_antipode"] == pytest.approx(0, abs=1e-12)  # of 1, whose opposite left
    assert measured(np.zeros((4, 2)))["within_rms"] is None
    assert (module.cosines(np.zeros((4, 2))) == 0).all()


def forms(*overrides):
    return module.closed_forms(plan(TINY, *overrides).setting(0))


SIX = ("model.n_features=6", "data.sets=[[0, 1], [2, 3], [4, 5]]")


def test_closed_forms_of_correlated_pairs():
    p = 0.4  # of the first cell
    assert forms() == pytest.approx((p / 6, 2 * p**2 / 3, p / 6))
    # Three pairs in two dimensions: one first component is lost, and there is no room.
    first = (p / 3 - p**2 / 4) + p * (1 - p) / 4
    assert forms(*SIX) == (pytest.approx(first + 3 * p / 12), None, None)
    assert forms(*SIX, "model.n_hidden=3") == pytest.approx((p / 4, p**2, p / 4))
    uneven = ("model.n_hidden=3", "data.sets=[[0, 1, 2], [3]]")
    assert forms(*uneven).digons is None
    assert forms(*uneven).collapsed == pytest.approx(2 * p / 12)


def test_closed_forms_of_anticorrelated_sets():
    found = forms("data.kind=anticorrelated")
    assert (found.digons, found.collapsed) == (0, None)
    # A member is active with p/2: variance q/3 - q²/4, within a pair covariance -q²/4.
    q = 0.2
    assert found.linear == pytest.approx(2 * (q / 3 - q**2 / 2))
    assert forms("data.kind=anticorrelated", "data.sets=[[0, 1, 2], [3]]").digons is None


def test_closed_forms_of_sets_of_unequal_probability():
    """Of collapsed sets each has its own p; digons would pair features of two p: not known."""
    p = "sweep={parameters: {data.feature_probability: [[0.4, 0.4, 0.1, 0.1]]}}"
    found = forms(p)
    # A set of two correlated features on one ray loses p/12, whatever the other does.
    assert (found.digons, found.collapsed) == (None, pytest.approx(0.4 / 12 + 0.1 / 12))
    # The better direction of each set is kept: of the pair, variance and covariance p(1 - p)/4.
    lost = [p / 3 - p**2 / 4 - p * (1 - p) / 4 for p in (0.4, 0.1)]
    assert found.linear == pytest.approx(sum(lost))
    apart = forms(p, "data.kind=anticorrelated")
    assert (apart.digons, apart.collapsed) == (0, None)


FORTY = """\
name: synced
model: {n_features: 40, n_hidden: 10}
data:
  kind: correlated
  feature_probability: {base: 0.02, 5: 0.0396, 6: 0.0396, 0: 0.058808, 2: 0.058808, 3: 0.058808}
  sets: [[5, 6], [0, 2, 3]]
train: {steps: 5, batch_size: 64, restarts: 2, eval_samples: 1024}
analyses: [sets]
"""


def test_unequal_groups_beside_single_features_are_analysed(tmp_path):
    run = commanded(tmp_path, FORTY)
    found = analyses.analyze(run, ("sets",))["sets"]
    assert found.numbers["n_sets"] == 2 + 35
    assert found.numbers["collapse_boundary"] is None
    (row,) = found.rows
    assert row["p"] is None
    assert np.isnan(found.arrays["p"]).all()
    # Within sets there are 1 + 3 pairs; both kinds have cosines.
    cos = module.cosines(run.model(run.selected[0])["W"].astype(float))
    pairs = [(5, 6), (0, 2), (0, 3), (2, 3)]
    assert row["within_most"] == pytest.approx(max(cos[i, j] for i, j in pairs))
    assert drawings.DRAWINGS["sets"](found, run)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return commanded(tmp_path_factory.mktemp("sets"), TINY)


def test_trained_pairs_are_digons_across_or_collapsed(pairs):
    found = module.sets(pairs)
    sparse, dense = found.rows
    assert (sparse["data.feature_probability"], dense["p"]) == (0.1, 0.4)
    assert (sparse["n_collapsed"], dense["n_collapsed"]) == (0, 2)
    # Digons by themselves cost 2p²/3; what biases and tilted pairs save is of higher order.
    assert 0.97 < sparse["digon_ratio"] <= 1.001
    assert sparse["between_antipode"] < -0.95
    # Collapsed pairs are linear, without rounding of p/6 beyond float32 and training's rest.
    assert dense["loss"] == pytest.approx(0.4 / 6, rel=1e-3)
    assert dense["linear_ratio"] == pytest.approx(1, rel=1e-3)
    assert found.numbers == {
        "cells": 2, "n_sets": 2, "collapse_rises": True, "collapse_boundary": 0.25,
    }  # fmt: skip


def test_arrays_are_those_of_the_rows(pairs):
    rows, arrays = module.sets(pairs)[1:]
    for name in ("p", "loss", "loss_linear", "loss_digons", "loss_collapsed", "n_collapsed"):
        assert arrays[name].tolist() == [row[name] for row in rows]
    assert arrays["W"].shape == (2, 4, 2)
    assert arrays["cosines"].shape == (2, 4, 4)
    assert arrays["cosines"][1, 0, 1] == pytest.approx(rows[1]["within_least"], abs=1e-3)
    assert arrays["set_of"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("data={kind: uniform, feature_probability: 0.1}",), "not uniform"),
        (("model.kind=linear",), "relu_output, not linear"),
        (("data.importance.last=0.5",), "importance 1"),
        (("data.high=2.0",), "U[0, 1]"),
        (("sweep.parameters.seed=[0, 1]",), "no other axis"),
    ],
)
def test_other_runs_are_refused(changes, sentence):
    assert sentence in refusal("sets", TINY, *changes)


def test_six_features_are_always_judged_by_the_same_rule():
    """Four nodes an axis beyond 24, 10, 6, 5, 4, 4, however the six are active."""
    # 1 + 6 28 + 15 14² + 20 10³ + 15 9⁴ + 6 8⁵ + 8⁶ nodes of six numbers
    counts = activity.counted(activity.independent(6, ()))
    assert activity.nodes(counts, finer=module.FINER) == 580_276 <= module.MOST // 6
    singles = make_spec(data="anticorrelated", n_features=6, sets=tuple((i,) for i in range(6)))
    assert objectives.affordable(singles, module.MOST // 6) >= module.FINER
