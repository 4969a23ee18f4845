"""Uniform geometry: hand-made embeddings, the theory of polytopes, and trained runs."""

from functools import partial

import jax
import numpy as np
import pytest
from helpers import commanded, refusal

from superposition_cli.analyses import uniform as module
from superposition_cli.theory.phases import UNIFORM_POLYTOPES, benefit_per_dimension

PENTAGON = np.stack([np.array([np.cos(t), np.sin(t)]) for t in 2 * np.pi * np.arange(5) / 5])
DIGON = np.array([[1.0], [-1.0]])
DEDICATED = np.array([[1.0]])
TINY = """\
name: tiny_uniform
model: {n_features: 12, n_hidden: 3}
data: {feature_probability: 0.1}
train: {optimizer: adam, learning_rate: 2e-2, steps: 200, batch_size: 128, eval_samples: 1024}
sweep: {parameters: {data.feature_probability: [0.1, 1.0, 0.3]}}
"""


def product(*factors, ignored=0):
    """Factors in orthogonal subspaces, then features without a vector."""
    W = np.zeros((sum(map(len, factors)) + ignored, sum(f.shape[1] for f in factors)))
    row = column = 0
    for factor in factors:
        k, d = factor.shape
        W[row : row + k, column : column + d] = factor
        row, column = row + k, column + d
    return W


def test_a_union_of_digons():
    found = module.embedding(product(*[DIGON] * 4, ignored=3)).measured
    assert found["d_star"] == pytest.approx(0.5)
    assert found["sum_share"] == pytest.approx(1)
    assert (found["represented"], found["components"], found["components_digon"]) == (8, 4, 4)
    assert (found["sticky_1_2"], found["sticky_1_2_to_3_8"], found["digon_share"]) == (1, 1, 1)
    assert found["sticky_1"] == found["sticky_2_5"] == found["components_pentagon"] == 0
    assert found["structure"] == "4 digons"


def test_a_dedicated_feature_and_a_pentagon():
    measured, D, norms, shape = module.embedding(product(DEDICATED, 1.1 * PENTAGON, ignored=1))
    assert shape == (7, 3)
    assert pytest.approx([1, *[0.4] * 5, np.nan], nan_ok=True) == D
    assert norms == pytest.approx([1, *[1.1] * 5, 0])
    assert measured["d_star"] == pytest.approx(3 / (1 + 5 * 1.21))
    assert measured["sum_share"] == pytest.approx(1)
    assert measured["sticky_1"] == pytest.approx(1 / 6)
    assert measured["sticky_2_5"] == measured["sticky_1_2_to_3_8"] == pytest.approx(5 / 6)
    assert (measured["components_dedicated"], measured["components_pentagon"]) == (1, 1)
    assert measured["digon_share"] == 0


def test_rotation_changes_nothing():
    W = product(DIGON, PENTAGON)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    plain, turned = module.embedding(W).measured, module.embedding(W @ turn).measured
    assert plain.pop("structure") == turned.pop("structure")
    assert list(plain.values()) == pytest.approx(list(turned.values()))


def test_a_tight_frame_without_a_name_is_other():
    heptagon = np.array([[np.cos(t), np.sin(t)] for t in 2 * np.pi * np.arange(7) / 7])
    found = module.embedding(heptagon).measured
    assert (found["components"], found["components_other"]) == (1, 1)


def test_nothing_represented():
    measured, D, _, _ = module.embedding(np.zeros((4, 2)))
    assert measured["d_star"] is measured["sticky_1_2"] is measured["digon_share"] is None
    assert (measured["represented"], measured["components"], measured["sum_share"]) == (0, 0, 0)
    assert np.isnan(D).all()


# Best polytope and its benefit per dimension, by Monte Carlo to about .01; where two tie to
# within that, as triangle and tetrahedron do about p = .8, there is no best one.
BEST = {0.6: ("digon", 1.105), 0.5: ("digon", 1.267), 0.3: ("digon", 1.617)}
BEST |= {0.1: ("square antiprism", 2.127), 0.05: ("icosahedron", 2.584)}


def test_benefit_curves_and_predicted_losses():
    benefits = module.benefit_curves(np.array(list(BEST)))
    assert benefits.shape == (len(UNIFORM_POLYTOPES), len(BEST))
    for found, (name, benefit) in zip(
        module.predictions(benefits, 100, 10), BEST.values(), strict=True
    ):
        assert found["best_polytope"] == name
        assert found["benefit"] == pytest.approx(benefit, abs=0.02)
        assert found["predicted_loss"] == pytest.approx(1 - benefit / 10, abs=0.002)


def test_curves_are_those_of_the_polytope_alone():
    curves = module.benefit_curves(np.array([0.3]))
    alone = float(jax.jit(partial(benefit_per_dimension, UNIFORM_POLYTOPES["pentagon"]))(0.3))
    assert curves[list(UNIFORM_POLYTOPES).index("pentagon"), 0] == pytest.approx(alone, abs=1e-3)


def test_no_prediction_where_copies_need_more_features_than_there_are():
    benefits = np.zeros((len(UNIFORM_POLYTOPES), 1))
    benefits[list(UNIFORM_POLYTOPES).index("digon")] = 1.9
    at_least = [module.predictions(benefits, n, 5)[0]["predicted_loss"] for n in (9, 10, 19)]
    assert at_least == [None, pytest.approx(0.05), pytest.approx(0.5)]


def rows(*pairs):
    return tuple({"d_star": d_star, "sum_share": share} for d_star, share in pairs)


def test_numbers_of_the_whole_run():
    p = np.array([1.0, 0.5, 0.2])
    found = module.overall(p, rows((1.0, 0.9), (0.5, 0.98), (0.4, 1.0)))
    assert found == {
        "cells": 3, "d_star_monotone": True, "sum_share_least": 0.98, "sum_share_most": 1.0,
    }  # fmt: skip
    assert not module.overall(p, rows((1.0, 1), (0.4, 1), (0.4, 1)))["d_star_monotone"]
    assert not module.overall(p, rows((1.0, 1), (0.4, 1), (None, 0)))["d_star_monotone"]
    assert module.overall(p[:1], rows((1.0, 1)))["sum_share_least"] is None


def test_a_run_gives_one_row_per_cell_in_order_of_sparsity(tmp_path):
    found = module.uniform(commanded(tmp_path, TINY))
    assert [row["data.feature_probability"] for row in found.rows] == [1.0, 0.3, 0.1]
    assert {tuple(row) for row in found.rows} == {tuple(found.rows[0])}
    assert {name: array.shape for name, array in found.arrays.items()} == {
        "p": (3,), "D_star": (3,), "D": (3, 12), "norms": (3, 12),
        "benefit": (len(UNIFORM_POLYTOPES), 3),
    }  # fmt: skip
    for i, row in enumerate(found.rows):
        assert row["d_star"] == pytest.approx(3 / (found.arrays["norms"][i] ** 2).sum())
        assert np.isfinite(found.arrays["D"][i]).sum() == row["represented"]
        assert 0 < row["loss_normalised"] < 1.1
    assert found.numbers["sum_share_most"] <= 1 + 1e-12


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("sweep.parameters={train.steps: [1, 2]}", "no other axis"),
        ("model.kind=linear", "relu_output, not linear"),
        ("data.importance={geometric: 0.9}", "importance 1"),
        ("data.target=abs", "target identity, not abs"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("uniform", TINY, override)
