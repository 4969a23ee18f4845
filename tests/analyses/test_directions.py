"""Almost-orthogonal vectors: runs without steps, known lines, and what is refused."""

import numpy as np
import pytest
from helpers import ONE_CHUNK, refusal, trained

import superposition_cli
from superposition_cli.analyses import directions as module
from superposition_cli.report import progress
from superposition_cli.running import launch
from superposition_cli.theory import packing

RANDOM = """\
name: random
model: {kind: linear, n_features: 60, n_hidden: 10}
train: {objective: packing, steps: 0, restarts: 4}
sweep: {parameters: {model.n_hidden: [6, 8, 10]}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = trained(tmp_path_factory.mktemp("random") / "run", RANDOM, machine=ONE_CHUNK).run.path
    return superposition_cli.load(path)


@pytest.fixture(scope="module")
def found(run):
    return module.directions(run)


def test_untrained_models_are_a_run_like_any_other(run):
    # Gaussian of standard deviation sqrt(2 / (n + m)): 360 to 600 numbers in each of 4 models
    for cell, m in enumerate((6, 8, 10)):
        W = np.stack([run.model(4 * cell + restart)["W"] for restart in range(4)])
        assert W.std() == pytest.approx(np.sqrt(2 / (60 + m)), rel=5 / np.sqrt(2 * W.size))
    assert (run.summary["status"] == "ok").all()
    assert run.summary["converged"].all()
    assert run.cells["not_converged"].tolist() == run.cells["diverged"].tolist() == [0, 0, 0]
    assert run.cells["loss_normalised"] == pytest.approx(run.cells["loss"] / run.cells["null_loss"])


def test_untrained_models_compile_no_training(run):
    estimate = launch.estimate(run.plan, ONE_CHUNK)
    assert (estimate.models, estimate.programs, estimate.model_steps) == (12, 0, 0)
    assert progress.Tally(run.plan).facts() == "0/12 models, 0 model steps/s"


def test_rows_are_those_of_a_numpy_count(run, found):
    row = found.rows[1]
    cosines = []
    for number in range(4, 8):
        W = run.model(number)["W"].astype(np.float64)
        U = W / np.linalg.norm(W, axis=1)[:, None]
        cosines.append((U @ U.T)[np.triu_indices(60, 1)])
    assert (row["model.n_hidden"], row["vectors"], row["dimensions"]) == (8, 60, 8)
    share = np.mean(np.abs(cosines) > 0.3)
    assert row["tail_0_3"] == pytest.approx(share, abs=1.1 / np.size(cosines))
    coherence = np.abs(cosines).max(1)
    assert row["coherence_best"] == pytest.approx(coherence.min(), rel=1e-5)
    assert row["coherence_median"] == pytest.approx(np.median(coherence), rel=1e-5)
    assert row["mean_square_m"] == pytest.approx(8 * np.mean(np.square(cosines)), rel=1e-5)
    assert row["welch_bound"] == pytest.approx(np.sqrt(52 / (8 * 59)))
    assert run.cells["loss"][1] == pytest.approx(row["coherence_best"] ** 2, rel=1e-5)


def test_random_directions_follow_the_exact_law(found):
    for row in found.rows:
        # 7,080 pairs, pairwise independent: the share has that of a binomial's variance
        p = row["tail_exact_0_3"]
        assert abs(row["tail_0_3"] - p) < 5 * np.sqrt(p / 7080)
    assert found.numbers["growth_0_3"] > 0
    assert found.numbers["growth_limit_0_3"] == pytest.approx(float(packing.growth(0.3)))


def test_arrays_for_a_figure(found):
    shapes = {name: array.shape for name, array in found.arrays.items()}
    assert shapes == {
        "edges": (201,), "histogram": (3, 200), "tail_exact": (3, 200), "count": (3,),
        "dimensions": (3,), "coherence": (3, 4), "welch_bound": (3,),
    }  # fmt: skip
    assert found.arrays["histogram"].sum(1).tolist() == [4 * 60 * 59 // 2] * 3
    assert found.arrays["tail_exact"][:, 0] == pytest.approx(1)


def test_a_simplex_of_five():
    # five vectors in four dimensions with all cosines -1/4
    one = module.sample(np.full((2, 10), -0.25), 4)
    assert (one.vectors, one.beyond(0.2), one.beyond(0.3)) == (5, 20, 0)
    row = module.of_sample(one)
    assert row["coherence_best"] == row["welch_bound"] == pytest.approx(0.25)
    assert row["tail_0_2"] == 1
    assert row["mean_square_m"] == pytest.approx(0.25)


def test_growth_needs_three_sizes_with_enough_pairs():
    wide = [module.sample(np.full((1, 4950), 0.5), m) for m in (5, 6)]
    assert module.growth(wide, 0.3)["growth_0_3"] is None
    few = module.sample(np.linspace(0, 0.302, 4950)[None], 7)
    assert module.growth([*wide, few], 0.3)["growth_0_3"] is None


def test_other_objectives_are_refused():
    text = "name: x\nmodel: {n_features: 5, n_hidden: 2}\ndata: {feature_probability: 0.1}\n"
    assert "objective packing, not sampled" in refusal("directions", text)
