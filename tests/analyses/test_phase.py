"""The phase analysis: boundaries of closed forms, and a small trained map."""

from types import SimpleNamespace

import helpers
import numpy as np
import pytest
from typer.testing import CliRunner

import superposition_cli
from superposition_cli.analyses import phase as module
from superposition_cli.cli import app
from superposition_cli.theory.phases import Fate

CODES = [int(Fate.IGNORED), int(Fate.SUPERPOSED), int(Fate.DEDICATED)]
P, R = np.array([0.1, 0.3, 0.6, 0.9]), np.array([0.1, 0.5, 1.0, 2.0])


def grid(n_features=2, p=P, r=R):
    cell = np.arange(len(p) * len(r)).reshape(len(p), len(r))
    return module.Diagram(p, r, cell, n_features)


def measured(fate, loss):
    """Norm and superposition as unit vectors of the given classes have them."""
    norm = np.where(fate == Fate.IGNORED, 0.0, 1.0)
    return module.Measured(norm, np.where(fate == Fate.SUPERPOSED, 1.0, 0.0), loss)


def exactly(closed, factor=1.0):
    """An exact optimum with the classes of the closed forms, at every other point."""
    every_other = np.array([0, 2])
    part = np.ix_(every_other, every_other)
    return module.Exact(every_other, every_other, closed.fate[part], factor * closed.loss[part])


def test_the_closed_form_map_of_two_features_by_hand():
    # Boundaries 4r/(2 + 5r): .16, .444 and 4/7; for r = 2 as for r = 1/2.
    closed = module.closed_forms(grid())
    ignored, superposed, dedicated = CODES
    assert closed.boundary == pytest.approx([0.16, 4 / 9, 4 / 7, 4 / 9], rel=1e-12)
    assert closed.fate.tolist() == [
        [superposed] * 4,
        [ignored, superposed, superposed, superposed],
        [ignored, ignored, ignored, dedicated],
        [ignored, ignored, ignored, dedicated],
    ]
    assert closed.loss[0, 0] == pytest.approx(1.1 * 0.01 / 6)  # the pair
    assert closed.loss[2, 1] == pytest.approx(0.5 * (0.2 - 0.09))  # without the last
    assert closed.loss[2, 3] == pytest.approx(0.2 - 0.09)  # without the first


def test_the_closed_form_map_of_three_features_by_hand():
    # For r > 1 the last feature is dedicated, whatever becomes of the others.
    closed = module.closed_forms(grid(3))
    ignored, superposed, dedicated = CODES
    assert closed.fate[:, 0].tolist() == [superposed, ignored, ignored, ignored]
    assert closed.fate[:, 1].tolist() == [superposed, superposed, ignored, ignored]
    assert closed.fate[:, 3].tolist() == [dedicated] * 4
    assert closed.loss[1, 3] == pytest.approx(0.09 / 3)  # the others as a pair
    assert closed.loss[1, 1] == pytest.approx(1.5 * 0.09 / 6)


def test_a_map_like_the_closed_forms_agrees_with_them():
    closed = module.closed_forms(grid())
    same = measured(closed.fate, closed.loss)
    other = measured(np.full_like(closed.fate, Fate.IGNORED), 2 * closed.loss)
    found = module.compare(grid(), same, other, exactly(closed, 0.8))
    assert found.numbers["cells"] == 16
    assert found.numbers["class_agreement"] == 1
    assert found.numbers["class_agreement_best"] == 7 / 16
    assert found.numbers["boundary"] == pytest.approx(np.sqrt(0.3 * 0.6))
    assert found.numbers["boundary_closed"] == pytest.approx(4 / 7, abs=1e-12)
    assert found.numbers["ratio_sparse"] == pytest.approx(1)
    assert found.numbers["cells_exact"] == 4
    assert found.numbers["class_agreement_exact"] == 1
    assert found.numbers["class_agreement_trained_exact"] == 1
    assert found.numbers["class_agreement_best_exact"] == 1 / 2  # superposed at p = .1
    assert found.numbers["exact_to_closed_most"] == pytest.approx(0.8)
    assert found.numbers["ratio_to_exact"] == pytest.approx(1 / 0.8)
    assert found.numbers["best_to_exact_most"] == pytest.approx(2 / 0.8)
    assert found.arrays["p_exact"].tolist() == [0.1, 0.6]
    assert found.arrays["loss_best"] == pytest.approx(2 * closed.loss)
    assert len(found.rows) == 16
    (row,) = [row for row in found.rows if row["p"] == 0.1 and row["r"] == 0.5]
    assert (row["class_trained"], row["class_closed"]) == ("superposed", "superposed")
    assert (row["class_exact"], row["loss_exact"]) == (None, None)  # between two of its points
    assert found.rows[0]["class_exact"] == "superposed"
    assert (row["class_best"], row["ratio"]) == ("ignored", pytest.approx(1))


def test_a_cell_that_diverged_has_no_numbers_and_does_not_agree():
    closed = module.closed_forms(grid())
    values = [array.copy() for array in measured(closed.fate, closed.loss)]
    for array in values:
        array[0, 0] = np.nan
    lost = module.Measured(*values)
    found = module.compare(grid(), lost, lost, exactly(closed))
    assert found.numbers["class_agreement"] == 15 / 16
    assert found.rows[0]["class_trained"] == "undecided"
    assert found.rows[0]["loss"] is None


SMALL = """\
name: small
model: {kind: relu_output, n_features: 2, n_hidden: 1}
data: {feature_probability: 0.1, importance: {last: 1.0}}
train:
  objective: population
  optimizer: adam
  learning_rate: 2e-2
  schedule: cosine
  steps: 300
  restarts: 6
sweep:
  parameters:
    data.importance.last: [10, 3, 1, 0.3, 0.1]
    data.feature_probability: {geomspace: {start: 0.01, stop: 1.0, num: 5}}
"""


def sweep(folder, *overrides):
    """Train a configuration as a person would, with `--set`, and open the result."""
    folder.mkdir(exist_ok=True)
    folder.joinpath("small.yaml").write_text(SMALL)
    sets = [word for override in overrides for word in ("--set", override)]
    arguments = ["sweep", str(folder / "small.yaml"), "-q", "--out", str(folder / "runs"), *sets]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.stderr
    return superposition_cli.load(result.stdout.strip())


# Of the closed-form classes, those whose loss is far below that of every other.
SURE = {(0.01, 0.3), (0.01, 1), (0.01, 3), (0.1, 0.3), (0.1, 1), (0.1, 3), (0.0316227766017, 1)}
SURE |= {(1, 0.1), (1, 0.3), (1, 3), (1, 10), (0.316227766017, 1)}


@pytest.mark.parametrize("select", ["best", "drop_worst"])
def test_a_trained_map_agrees_far_from_the_boundary(tmp_path, select):
    found = module.phase(sweep(tmp_path, f"train.select={select}"))
    assert found.arrays["r"].tolist() == [0.1, 0.3, 1, 3, 10]
    assert found.arrays["class_trained"].shape == found.arrays["loss"].shape == (5, 5)
    sure = [row for row in found.rows if (row["p"], row["r"]) in SURE]
    assert len(sure) == len(SURE)
    assert [row for row in sure if row["class_best"] != row["class_closed"]] == []
    assert found.numbers["class_agreement_best"] >= 0.8
    for row in found.rows:
        assert 0.8 < row["loss_best"] / row["loss_closed"] < 1.01
        assert row["loss_best"] <= row["loss"] + 1e-12
    assert [row for row in sure if row["class_exact"] != row["class_closed"]] == []
    assert found.numbers["cells_exact"] == 25
    assert found.numbers["class_agreement_best_exact"] >= 0.9
    assert found.numbers["best_to_exact_least"] > 1 - 1e-6
    assert found.numbers["best_to_exact_most"] < 1.02
    if select == "best":
        assert [row for row in found.rows if row["class_best"] != row["class_trained"]] == []
        assert found.numbers["ratio_sparse"] == pytest.approx(1, abs=0.01)


@pytest.mark.slow
def test_sampled_and_population_training_reach_the_same_optimum(tmp_path):
    """The best of twenty on fresh batches, at a small rate in the end, within 2 % of the exact."""
    few = ("sweep.parameters.data.importance.last=[0.5, 1, 2]", "train.restarts=20")
    sampled = ("train.objective=sampled", "train.steps=2000", "train.learning_rate=1e-2")
    found = module.phase(sweep(tmp_path / "sampled", *few, *sampled))
    exact = module.phase(sweep(tmp_path / "population", *few))
    assert found.arrays["loss_best"] == pytest.approx(exact.arrays["loss_best"], rel=0.02)
    assert found.arrays["loss_exact"] == pytest.approx(exact.arrays["loss_exact"], rel=1e-5)
    assert found.numbers["best_to_exact_most"] < 1.02


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("model.n_features=3",), "3 features in 2 hidden dimensions, not 3 in 1"),
        (("model.kind=linear",), "relu_output, not linear"),
        (("data.importance.first=2.0",), "importance 1 for all features but the last"),
        (("data.high=2.0",), "features in U[0, 1]"),
        (("sweep.parameters.seed=[0, 1]",), "no other axis"),
        (("sweep.parameters.data.importance.last=[0, 1]",), "importances above 0"),
        (
            ("sweep.parameters.data.feature_probability=[[0.1, 0.2]]",),
            "one feature probability for all features",
        ),
    ],
)
def test_other_runs_are_refused(changes, sentence):
    assert sentence in helpers.refusal("phase", SMALL, *changes)


def test_a_run_of_one_setting_is_refused():
    assert "needs a grid over" in helpers.refusal("phase", SMALL.partition("sweep:")[0])


def test_the_grid_is_laid_out_ascending_whatever_the_order_of_its_axes():
    plan = helpers.plan(SMALL)
    found = module.diagram(SimpleNamespace(plan=plan))
    for i, j in np.ndindex(5, 5):
        setting = plan.setting(int(found.cell[i, j]))
        assert setting.feature_probability() == (found.p[i],) * 2
        assert setting.importance() == (1, found.r[j])
