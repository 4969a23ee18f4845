"""The numbers of the field that the shipped configurations must reproduce when trained.

The claims' identifiers are those of docs/claims.md where it exists; expected numbers come
from closed forms and from exact optimisation of the expected loss, not from this code.
"""

import itertools

import numpy as np
import pytest
from typer.testing import CliRunner

import superposition_cli
from superposition_cli import geometry
from superposition_cli.cli import app

IMPORTANCE = 0.9 ** np.arange(5)


def trained(folder, name):
    """Train a shipped configuration as a person would and open the result."""
    result = CliRunner().invoke(app, ["sweep", name, "-q", "--out", str(folder / name)])
    assert result.exit_code == 0, result.stderr
    return superposition_cli.load(result.stdout.strip())


@pytest.fixture(scope="module")
def intro(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("claims"), "intro")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("claims"), "demonstrate_small")


def best(run, density, kind=None):
    """The row of the cell with this density (and model kind)."""
    rows = np.isclose(run.cells["data.feature_probability"], density)
    if kind is not None:
        rows &= run.cells["model.kind"] == kind
    (row,) = np.flatnonzero(rows)
    return {name: column[row] for name, column in run.cells.items()}


def embedding(run, density):
    return run.model(int(best(run, density)["selected_model"]))["W"]


def ratio_to_linear(cell, kept, importance):
    """Loss by that of the best linear model: sum of the importances it drops, by sigma^2."""
    p = cell["data.feature_probability"]
    return cell["loss"] / (importance[kept:].sum() * (p / 3 - p**2 / 4))


def test_v01_a_pentagon_when_sparse(intro):
    W = embedding(intro, 0.05)
    gaps = geometry.angles_2d(W)
    assert len(gaps) == 5
    assert np.abs(gaps - 72).max() < 4


def test_v02_two_antipodal_pairs_in_between(intro):
    W = embedding(intro, 0.2)
    norms = np.linalg.norm(W, axis=1)
    gaps = geometry.angles_2d(W)
    assert len(gaps) == 4
    assert np.abs(gaps - 90).max() < 3
    assert norms[4] < 0.2
    cosines = (W[:4] @ W[:4].T) / np.outer(norms[:4], norms[:4])
    assert sorted(cosines.min(1).round(2)) == [-1.0] * 4


def test_v03_two_orthogonal_features_when_dense(intro):
    W = embedding(intro, 1.0)
    norms = np.linalg.norm(W, axis=1)
    assert (norms > 0.5).tolist() == [True, True, False, False, False]
    assert abs(W[0] @ W[1]) / (norms[0] * norms[1]) < 0.02
    assert ratio_to_linear(best(intro, 1.0), 2, IMPORTANCE) == pytest.approx(1, abs=0.01)


# Exact optimum of the expected loss (quadrature over activity patterns, L-BFGS), by the
# linear optimum: .865 at p = .5, .485 at .2, .316 at .1, .206 at .05.
@pytest.mark.parametrize(
    ("density", "ratio"), [(0.5, 0.865), (0.2, 0.485), (0.1, 0.316), (0.05, 0.206)]
)
def test_training_comes_within_two_percent_of_the_exact_optimum(intro, density, ratio):
    assert ratio_to_linear(best(intro, density), 2, IMPORTANCE) == pytest.approx(ratio, rel=0.02)


DENSITIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


@pytest.mark.parametrize("density", DENSITIES)
def test_v04_v05_linear_models_reach_the_closed_form_optimum(small, density):
    cell = best(small, density, "linear")
    excess = ratio_to_linear(cell, 5, 0.7 ** np.arange(20)) - 1
    assert -1e-6 < excess < 0.01
    W = small.model(int(cell["selected_model"]))["W"]
    norms = np.linalg.norm(W, axis=1)
    assert (norms > 0.5).tolist() == [True] * 5 + [False] * 15
    assert norms[:5] == pytest.approx(np.ones(5), abs=0.02)


@pytest.mark.parametrize(("density", "least", "most"), [(1.0, 5, 5), (0.1, 8, 20), (0.01, 11, 20)])
def test_v06_relu_models_represent_more_as_features_become_sparse(small, density, least, most):
    assert least <= best(small, density, "relu_output")["n_represented"] <= most


def test_v07_relu_loss_against_the_linear_optimum(small):
    cell = best(small, 0.1, "relu_output")
    assert ratio_to_linear(cell, 5, 0.7 ** np.arange(20)) == pytest.approx(0.45, abs=0.05)


def test_represented_count_does_not_fall_with_sparsity(small):
    counts = [best(small, p, "relu_output")["n_represented"] for p in DENSITIES]
    assert all(b >= a - 1 for a, b in itertools.pairwise(counts))
