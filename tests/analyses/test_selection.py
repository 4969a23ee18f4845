"""Selected models: which they are, their exact settings, and the keys analyses draw from."""

from types import SimpleNamespace

import helpers
import jax
import numpy as np
import pytest

import superposition_cli
from superposition_cli import analyses
from superposition_cli.analyses import selection
from superposition_cli.config import setting_words
from superposition_cli.errors import InvalidInput

NO_RESTART, EVALUATION = 2**32 - 1, 2  # what roots and evaluation keys are folded with
ROTATED = 0x726F7461


def held(selected, *overrides):
    """Three cells of two models, model k with W = k."""
    return SimpleNamespace(
        plan=helpers.plan(helpers.TINY, *overrides),
        selected=selected,
        averages=False,
        cells={"loss": np.array([0.5, 0.25, 0.125])},
        model=lambda number: {"W": np.full((5, 2), number)},
    )


def test_selected_models_come_with_their_cells():
    first, last = selection.selected(held({0: 1, 2: 4}), "rotation")
    assert (first.cell, first.number, last.cell, last.number) == (0, 1, 2, 4)
    assert first.axes == {"data.feature_probability": 1.0}
    assert last.axes == {"data.feature_probability": 0.05}
    assert last.setting.feature_probability() == (0.05,) * 5
    assert (last.params["W"] == 4).all()
    assert [first.recorded("loss"), last.recorded("loss")] == [0.5, 0.125]


def test_without_any_the_analysis_is_named():
    with pytest.raises(InvalidInput, match="rotation needs a selected model in at least one cell"):
        selection.selected(held({}), "rotation")
    assert selection.any_selected(held({})) == []


def test_settings_are_those_of_all_cells():
    given = [setting.data.feature_probability for setting in selection.settings(held({2: 4}))]
    assert given == [1.0, 0.3, 0.05]


def test_numbers_in_double_precision():
    setting = selection.settings(held({}))[1]
    spec, knobs = selection.in_float64(setting)
    assert (spec.n_features, spec.n_hidden) == (5, 2)
    assert knobs.feature_probability.dtype == knobs.learning_rate.dtype == np.float64
    # the last bits are those of 0.9 ** 4, not of its float32
    assert knobs.importance[4] == 0.9**4
    # U[0, 1] with p = .3: p/3 - p²/4; independent, so nothing off the diagonal
    covariance = selection.covariance(setting)
    np.testing.assert_allclose(covariance, np.eye(5) * (0.3 / 3 - 0.09 / 4), rtol=1e-12, atol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_keys_are_folded_from_the_seed_and_the_words_of_the_setting(shared):
    draws = "shared" if shared else "independent"
    setting = selection.settings(held({}, "seed=7", f"train.draws={draws}"))[2]
    root = jax.random.key(7, impl="threefry2x32")
    for word in () if shared else setting_words(setting):
        root = jax.random.fold_in(root, np.uint32(word))
    expected = [
        jax.random.fold_in(root, 0),
        jax.random.fold_in(jax.random.fold_in(root, np.uint32(NO_RESTART)), EVALUATION),
    ]
    for key, by_hand in zip(selection.model_keys(setting), expected, strict=True):
        assert (jax.random.key_data(key) == jax.random.key_data(by_hand)).all()


def test_a_stream_is_one_for_all_settings_of_a_seed():
    one, other, _ = selection.settings(held({}, "seed=7"))
    streams = [jax.random.key_data(selection.stream(setting, ROTATED)) for setting in (one, other)]
    by_hand = jax.random.fold_in(jax.random.key(7, impl="threefry2x32"), ROTATED)
    assert (streams[0] == jax.random.key_data(by_hand)).all()
    assert (streams[0] == streams[1]).all()
    different = selection.stream(selection.settings(held({}, "seed=8"))[0], ROTATED)
    assert (streams[0] != jax.random.key_data(different)).any()


AVERAGED = """\
name: averaged
model: {n_features: 4, n_hidden: 2}
data: {feature_probability: 0.1}
train: {steps: 20, batch_size: 64, restarts: 3, select: mean}
analyses: [capacity, structure]
"""


@pytest.mark.parametrize("rule", ["mean", "drop_worst"])
def test_under_a_rule_that_averages_the_best_model_is_looked_at(tmp_path, rule):
    run = helpers.commanded(tmp_path, AVERAGED, f"train.select={rule}")
    loss = run.summary["loss"]
    best = int(loss.argmin())
    assert run.selected == {0: best}
    (model,) = selection.selected(run, "capacity")
    assert model.recorded("loss") == loss[best]
    kept = np.sort(loss)[: 3 if rule == "mean" else 2]
    assert run.cells["loss"] == pytest.approx(kept.mean(), rel=1e-7)
    assert run.cells["loss_sd"] == pytest.approx(kept.std(ddof=1), rel=1e-5)
    found = analyses.analyze(run, ("structure", "capacity"))
    assert found["structure"].numbers["cells"] == found["capacity"].numbers["cells"] == 1
    np.testing.assert_array_equal(found["structure"].arrays["W"][0], run.model(best)["W"])


def test_averages_are_shown_with_their_spread_and_the_best_model_is_named(
    tmp_path, capsys, monkeypatch
):
    run = helpers.commanded(tmp_path, AVERAGED)
    shown = helpers.sp(capsys, monkeypatch, "show", run.run.path).out
    mean, sd = run.cells["loss_normalised"][0], run.cells["loss_normalised_sd"][0]
    assert f"{mean:.4g} ± {sd:.2g}" in shown
    told = helpers.sp(capsys, monkeypatch, "analyze", run.run.path)
    assert "cells are means over all models" in told.err
    page = helpers.sp(capsys, monkeypatch, "report", run.run.path)
    assert page.code == 0
    assert "takes the best of them" in page.err
    text = (run.run.path / "report" / "report.md").read_text()
    assert "takes the best of them" in text
    assert f"{mean:.4g} ± {sd:.2g}" in text
    assert "structure-" in text  # figures are drawn


def test_folders_that_did_not_name_the_best_of_an_average_are_read(tmp_path):
    run = helpers.commanded(tmp_path, AVERAGED)
    file = run.run.path / "cells.csv"
    header, row = (line.split(",") for line in file.read_text().splitlines())
    row[header.index("selected_model")] = ""
    file.write_text("\n".join(map(",".join, (header, row))) + "\n")
    again = superposition_cli.load(run.run.path)
    assert again.selected == {0: int(run.summary["loss"].argmin())}
