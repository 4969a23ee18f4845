"""A perturbed pentagon: hand-made embeddings, curves with known crossings, trained runs."""

import numpy as np
import pytest
from helpers import Planned, commanded, refusal

from superposition_cli.analyses import pentagon as module


def vectors(*degrees, norms=1.0):
    turns = np.radians(degrees)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1) * np.broadcast_to(
        np.asarray(norms, float)[..., None], (len(degrees), 1)
    )


PENTAGON = vectors(0, 72, 144, 216, 288, norms=1.135)
DIGONS = vectors(0, 0, 180, 90, 270, norms=[0, 1, 1, 1, 1])
BASE = """\
name: tiny_pentagon
model: {n_features: 5, n_hidden: 2}
data: {feature_probability: {base: 0.05, first: 0.05}}
train:
  {objective: population, optimizer: adam, learning_rate: 5e-2, schedule: cosine,
   steps: 100, restarts: 6, snapshots: 0}
"""
TINY = BASE + "sweep: {parameters: {data.feature_probability.first: [0.05, 0.01]}}\n"


def turned(W, degrees, mirrored=False):
    turn = np.radians(degrees)
    W = W * [1, -1] if mirrored else W
    return W @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("W", [PENTAGON, DIGONS, PENTAGON * [[1.1], [1], [1], [0.9], [1]]])
def test_canonical_orientation_undoes_rotation_and_reflection(W, mirrored):
    for degrees in (0, 33, 180, 271):
        found = module.canonical(turned(W, degrees, mirrored))
        assert found == pytest.approx(W, abs=1e-12)


def test_a_second_feature_opposite_to_the_first_has_no_say():
    """The third is above the axis, though rounding puts the second below or above it."""
    W = vectors(0, 180.1, 90, 270)
    for degrees in (0, 50):
        assert module.canonical(turned(W, degrees, True))[2, 1] == pytest.approx(1)


@pytest.mark.parametrize(
    ("W", "expected"),
    [
        (PENTAGON, "pentagon"),
        (vectors(0, 60, 140, 220, 300, norms=[0.95, 1.1, 1, 1, 1.1]), "pentagon"),
        (vectors(0, 60, 140, 220, 300, norms=[0.6, 1.1, 1, 1, 1.1]), None),  # one is falling out
        (vectors(0, 10, 120, 180, 240), None),  # two in one direction
        (DIGONS, "digons"),
        (vectors(0, 180, 90, 270, 45, norms=[1, 1, 1, 1.05, 0.4]), "digons"),
        (vectors(0, 180, 90, 270, 45, norms=[1, 1, 1, 1, 0.7]), None),
        (vectors(0, 180, 0, 90, 45, norms=[1, 1, 1, 1, 0]), None),  # one opposite to two
        (vectors(0, 180, 90, 45, 45, norms=[1, 1, 1, 0, 0]), None),
        (np.zeros((5, 2)), None),
        (np.full((5, 2), np.nan), None),
    ],
)
def test_the_branch_of_an_embedding(W, expected):
    assert module.branch(turned(W, 17)) == expected


def test_the_best_model_of_each_branch_is_found():
    W = np.stack([DIGONS, PENTAGON, turned(DIGONS, 30), np.zeros((5, 2))])
    b = np.arange(20.0).reshape(4, 5)
    found = module.best(np.array([3.0, 4.0, 2.0, 1.0]), W, b)
    assert (found["digons"].loss, found["digons"].models) == (2.0, 2)
    assert found["digons"].b.tolist() == b[2].tolist()
    assert pytest.approx(DIGONS, abs=1e-12) == found["digons"].W
    assert (found["pentagon"].loss, found["pentagon"].models) == (4.0, 1)
    assert module.best(np.zeros(0), np.zeros((0, 5, 2)), np.zeros((0, 5))) == {}


def test_space_is_half_the_angle_between_the_neighbours():
    assert module.space(PENTAGON, 0) == pytest.approx(72)
    assert module.space(vectors(350, 50, 140, 220, 250), 0) == pytest.approx((60 + 100) / 2)
    assert module.space(vectors(10, 130), 1) == pytest.approx(180)
    assert module.space(DIGONS, 0) is None
    assert module.space(vectors(10, 130, norms=[1, 0]), 0) is None


# Power laws are straight in logarithms: pentagon ratio**1/2, digons ratio**2 / c**(3/2) cross at c.
RATIO = np.geomspace(0.1, 10, 9)


def losses(c):
    return np.stack([RATIO**0.5, RATIO**2 / c**1.5], axis=1)


@pytest.mark.parametrize("c", [0.11, 0.264, 0.9, 3.0])
def test_power_laws_cross_where_they_are_equal(c):
    assert module.crossings(RATIO, losses(c)) == pytest.approx([c])


def test_there_is_no_crossing_beside_a_cell_without_both_branches():
    loss = losses(0.264)
    loss[2, 0] = np.nan  # ratio .316, just above
    assert module.crossings(RATIO, loss) == []


def test_crossings_on_both_sides_of_one():
    """Losses 1 and exp(2 - |ln ratio|) cross at exp(-2) and exp(2)."""
    loss = np.stack([np.ones(9), np.exp(2 - np.abs(np.log(RATIO)))], axis=1)
    found = module.crossings(RATIO, loss)
    assert found == pytest.approx([np.exp(-2), np.exp(2)])
    assert module.nearest([0.05, *found, 9]) == (found[0], found[1])
    assert module.nearest([]) == (None, None)


def solution(loss, W):
    return module.Solution(loss, 1, W, np.array([-0.3, -0.1, -0.1, -0.2, -0.2]))


def test_a_finding_has_a_crossing_for_each_curve():
    """At base .05 losses 1, 2 against 2, 1: crossing half way in log. At .1 always digons."""
    places = [module.Place(base, r, i) for i, (base, r) in enumerate(
        [(0.05, 0.25), (0.05, 0.5), (0.1, 0.25), (0.1, 0.5)]
    )]  # fmt: skip
    pairs = [(2.0, 1.0), (1.0, 2.0), (2.0, 1.0), (2.0, 1.0)]
    found = [{"pentagon": solution(a, PENTAGON), "digons": solution(b, DIGONS)} for a, b in pairs]
    del found[3]["pentagon"]
    finding = module.assemble("importance", places, [{"x": i} for i in range(4)], found)
    crossing = pytest.approx(np.sqrt(0.125))
    assert finding.numbers == {
        "perturbed": "importance", "cells": 4, "curves": 2, "crossing": crossing,
        "crossing_above": None, "crossing_highest_base": None, "crossing_rises": False,
    }  # fmt: skip
    assert [row["crossing"] for row in finding.rows] == [crossing, crossing, None, None]
    assert [row["best"] for row in finding.rows] == ["digons", "pentagon", "digons", "digons"]
    assert {tuple(row) for row in finding.rows} == {tuple(finding.rows[0])}
    first, last = finding.rows[0], finding.rows[3]
    assert first["pentagon_norm_others"] == pytest.approx(1.135)
    assert (first["pentagon_bias_first"], first["pentagon_bias_others"]) == (
        -0.3, pytest.approx(-0.15)
    )  # fmt: skip
    assert (first["digons_ignored"], first["digons_space_first"]) == (0, None)
    assert first["digons_largest_gap"] == pytest.approx(90)
    assert (last["pentagon_models"], last["pentagon_loss"]) == (0, None)
    assert finding.arrays["W"].shape == (4, 2, 5, 2)
    assert np.isnan(finding.arrays["loss"]).tolist() == [[False] * 2] * 3 + [[True, False]]


def test_crossings_rise_from_base_to_base():
    assert module.overall([(0.1, None), (0.2, None)])["crossing_rises"] is True
    assert module.overall([(0.2, 3.0), (0.1, None)])["crossing_rises"] is False
    assert module.overall([(0.2, 3.0)])["crossing_rises"] is None


def test_cells_are_in_order_of_base_and_ratio():
    both = "{data.feature_probability: [0.1, 0.05], data.feature_probability.first: [0.1, 0.025]}"
    perturbed, places = module.perturbation(Planned(TINY, f"sweep.parameters={both}"))
    assert perturbed == "feature_probability"
    assert places == [(0.05, 0.5, 3), (0.05, 2, 2), (0.1, 0.25, 1), (0.1, 1, 0)]


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("model.n_hidden=3", "5 features in 2 hidden dimensions, not 5 in 3"),
        ("model.kind=linear", "not linear"),
        ("data.target=abs", "target identity"),
        ("data.importance={geometric: 0.9}", "all but the first"),
        ("data.importance={first: 0}", "importances above 0"),
        ("data.importance={first: 2}", "its own probability or importance"),
        ("sweep.parameters={data.feature_probability.1: [0.1, 0.2]}", "all but the first"),
        ("sweep.parameters={data.feature_probability.first: [0.1], seed: [0, 1]}", "no other axis"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("pentagon", TINY, override)


def test_a_short_run_finds_the_regular_pentagon_and_the_digons(tmp_path):
    """A pair of unit vectors errs by the smaller magnitude when both are active, at most p² of
    the time: 2 p²/6 a pair. With p_1/3 for the silent output two digons lose .0050 at p = .05 and
    p_1 = .01. The pentagon loses .008904, by L-BFGS to six digits; short training leaves less
    than 2 %.
    """
    results = commanded(tmp_path, TINY)
    finding = module.pentagon(results)
    sparse, regular = finding.rows
    assert (sparse["ratio"], regular["ratio"]) == (pytest.approx(0.2), 1)
    assert sparse["best"] == "digons"
    assert sparse["digons_loss"] == pytest.approx(0.005, rel=0.02)
    assert regular["best"] == "pentagon"
    assert regular["pentagon_loss"] == pytest.approx(0.008904, rel=0.02)
    W, b = finding.arrays["W"][1, 0], finding.arrays["b"][1, 0]
    assert W[0, 1] == pytest.approx(0, abs=1e-12)
    assert W[0, 0] > 0 < W[1, 1]
    assert regular["pentagon_bias_others"] == pytest.approx(b[1:].mean())
    own = np.linalg.norm(results.weights["W"], axis=2)
    assert any(np.allclose(np.linalg.norm(W, axis=1), one, rtol=1e-6) for one in own)
