"""Selected models: which they are, their exact settings, and the keys analyses draw from."""

from types import SimpleNamespace

import helpers
import jax
import numpy as np
import pytest

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
    assert [first.of_cell("loss"), last.of_cell("loss")] == [0.5, 0.125]


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
