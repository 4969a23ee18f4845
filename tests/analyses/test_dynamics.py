"""Learning dynamics: trained runs, known levels, and who is refused."""

from types import SimpleNamespace

import numpy as np
import pytest
from helpers import commanded, refusal

from superposition_cli.analyses import dynamics as module
from superposition_cli.errors import InvalidInput
from superposition_cli.measures.course import Plateau

STAGES = """\
name: tiny_stages
model: {n_features: 4, n_hidden: 2}
data: {kind: correlated, sets: [[0, 1], [2, 3]], feature_probability: 0.05}
train: {objective: population, optimizer: sgd, learning_rate: 0.3, steps: 600, init_scale: 0.02,
        restarts: 3, snapshots: 40}
sweep: {parameters: {data.feature_probability: [0.05, 0.1]}}
"""
SAMPLED = """\
name: tiny_sampled
model: {kind: abs, n_features: 8, n_hidden: 2}
data: {feature_probability: 0.3}
train: {optimizer: adam, learning_rate: 1e-2, steps: 100, batch_size: 64, eval_samples: 256,
        restarts: 2, snapshots: 20}
"""


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    results = commanded(tmp_path_factory.mktemp("stages"), STAGES)
    return results, module.dynamics(results)


def test_rows_are_models_and_arrays_are_of_the_snapshots(stages):
    results, found = stages
    assert [(row["data.feature_probability"], row["restart"]) for row in found.rows] == [
        (p, restart) for p in (0.05, 0.1) for restart in range(3)
    ]
    assert {tuple(row) for row in found.rows} == {tuple(found.rows[0])}
    S, windows = len(results.history["snapshot_step"]), found.numbers["windows"]
    assert {name: array.shape for name, array in found.arrays.items()} == {
        "step": (S,), "edge": (windows + 1,), "model": (6,), "loss": (6, S),
        "jumps": (6, windows), "D": (2, S, 4), "norms": (2, S, 4),
    }  # fmt: skip
    assert [row["jumps"] for row in found.rows] == found.arrays["jumps"].sum(1).tolist()
    assert sum(row["selected"] for row in found.rows) == 2


def test_losses_are_those_that_training_saw(stages):
    """With the population objective the loss before a step is what the step reports."""
    results, found = stages
    history = results.history
    both, mine, theirs = np.intersect1d(
        found.arrays["step"], history["loss_step"], return_indices=True
    )
    assert len(both) > 10
    # Judged by finer quadrature than training has. Only inputs with both sets active are left to
    # it, p² = .01 of them at most, each with a loss below 4/3, of which kinks leave five nodes
    # an axis at most half a percent off: 7e-5.
    np.testing.assert_allclose(
        found.arrays["loss"][:, mine], history["loss"][:, theirs], rtol=0, atol=7e-5
    )
    first = found.arrays["step"][mine] == 0  # no kinks yet: vectors are next to nothing
    begun = found.arrays["loss"][:, mine][:, first]
    np.testing.assert_allclose(begun, history["loss"][:, theirs][:, first], rtol=2e-5)


def test_dimensionalities_equal_numpy(stages):
    results, found = stages
    chosen = int(results.cells["selected_model"][1])
    W = results.history["snapshot_W"][chosen].astype(np.float64)
    gram = W @ np.swapaxes(W, 1, 2)
    own = np.diagonal(gram, axis1=1, axis2=2)
    np.testing.assert_allclose(found.arrays["D"][1], own**2 / (gram**2).sum(2), rtol=1e-9)
    np.testing.assert_allclose(found.arrays["norms"][1] ** 2, own, rtol=1e-9)


def test_learning_waits_at_the_known_levels(stages):
    _, found = stages
    for row in found.rows:
        p = row["data.feature_probability"]
        # Four features of variance p/3 - p²/4; two sets that lose p/12 each; opposite, every
        # feature misses the smaller of two means of two numbers: E min² = 7/40.
        assert row["loss_null"] == pytest.approx(4 * (p / 3 - p**2 / 4), rel=1e-5)
        assert row["loss_collapsed"] == pytest.approx(p / 6, rel=1e-5)
        assert row["loss_opposite"] == pytest.approx(p / 6 + 4 * p**2 * 7 / 40, rel=1e-5)
    assert found.numbers["at_null"] == 1


def test_the_last_snapshot_is_judged_as_the_model_is_where_loss_is_sampled(tmp_path):
    """All samples of a snapshot are those that the finished model is judged on."""
    results = commanded(tmp_path, SAMPLED)
    found = module.dynamics(results)
    assert found.arrays["loss"].shape == (2, len(results.history["snapshot_step"]))
    assert found.numbers["at_collapsed"] is found.rows[0]["loss_opposite"] is None
    # One more step at rate 1e-2 changes the loss by little; other samples by ~ 1/sqrt(256).
    final = results.summary["loss"]
    assert found.arrays["loss"][:, -1] == pytest.approx(final, rel=0.02)


def test_stages_name_the_levels_that_plateaus_are_at():
    known = {"null": 0.1, "collapsed": 0.02, "opposite": 0.024}
    found = module.stages([Plateau(0.1029, 0, 9), Plateau(0.0234, 20, 90)], known)
    assert (found["at_null"], found["at_collapsed"], found["at_opposite"]) == (True, False, True)
    assert found["collapse_level"] == 0.0234
    assert (found["plateau_2_start"], found["plateau_2_stop"]) == (20, 90)
    assert found["plateau_3_level"] is None
    nothing = module.stages([], {**known, "collapsed": None})
    assert (nothing["at_null"], nothing["at_collapsed"]) == (False, None)
    assert nothing["collapse_level"] is None


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("sweep={parameters: {train.steps: [1, 2]}}", "one program"),
        ("train.snapshots=2", "more snapshots"),
        ("train.snapshots=0", "more snapshots"),
        ("train.steps=2", "more snapshots"),
    ],
)
def test_other_runs_are_refused(override, why):
    assert why in refusal("dynamics", SAMPLED, override)


def test_a_run_that_diverged_is_refused():
    results = SimpleNamespace(summary={"selected": np.array([False])})
    with pytest.raises(InvalidInput, match="did not diverge"):
        module.dynamics(results)
