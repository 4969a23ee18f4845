"""Sweeps: how axes are written, counted, zipped and tried."""

import pytest
from config_texts import BASE, EXAMPLE, data, load, problems, swept, within

from superposition_cli.config import loading
from superposition_cli.errors import InvalidInput


def test_example():
    experiment = load(EXAMPLE)
    assert experiment.n_cells == 625
    assert [axis.names for axis in experiment.axes] == [
        ("data.feature_probability",),
        ("data.importance.last",),
    ]
    assert [axis.length for axis in experiment.axes] == [25, 25]
    assert experiment.axes[1].item(12) == (1.0,)
    setting = experiment.at({"data.feature_probability": 0.3, "data.importance.last": 2.0})
    assert setting.feature_probability() == (0.3, 0.3)
    assert setting.importance() == (1.0, 2.0)
    assert setting.train == experiment.train


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("[1, 2]", [1, 2]),
        ("{values: [0.5]}", [0.5]),
        ("{linspace: {start: 0, stop: 1, num: 5}}", [0, 0.25, 0.5, 0.75, 1]),
        ("{linspace: {start: 0.1, stop: 0.3, num: 3}}", [0.1, 0.2, 0.3]),
        ("{linspace: {start: 3, stop: 9, num: 1}}", [3]),
        ("{geomspace: {start: 0.01, stop: 1, num: 3}}", [0.01, 0.1, 1]),
    ],
)
def test_axis_forms(form, expected):
    axis = load(swept(f"train.weight_decay: {form}")).axes[0]
    assert [axis.item(i) for i in range(axis.length)] == [(value,) for value in expected]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{start: 1, stop: 4}", [1, 2, 3]),
        ("{start: 1, stop: 8, step: 3}", [1, 4, 7]),
        ("{start: 3, stop: 0, step: -1}", [3, 2, 1]),
    ],
)
def test_range(form, expected):
    axis = load(swept(f"seed: {{range: {form}}}")).axes[0]
    assert [axis.item(i)[0] for i in range(axis.length)] == expected


def test_words_and_lists_are_values():
    experiment = load(swept("model.kind: [linear, abs], data.importance: [[1, 2, 3], 1.0]"))
    assert experiment.n_cells == 4
    setting = experiment.at({"model.kind": "abs", "data.importance": [1, 2, 3]})
    assert (setting.model.kind, setting.importance()) == ("abs", (1, 2, 3))


def test_an_axis_on_the_twin_or_an_entry():
    experiment = load(swept("data.sparsity: [0.9, 0.5]"))
    assert experiment.at({"data.sparsity": 0.5}).feature_probability() == (0.5,) * 3
    experiment = load(swept("data.feature_probability.0: [0.5]"))
    assert experiment.at({"data.feature_probability.0": 0.5}).feature_probability()[0] == 0.5
    whole_first = experiment.at({"data.importance.last": 5.0, "data.importance": 2.0})
    assert whole_first.importance() == (2, 2, 5)


def test_zip():
    parameters = "model.n_features: [3, 4, 5], seed: [0, 1], model.n_hidden: [1, 2, 3]"
    experiment = load(swept(parameters, "[[model.n_hidden, model.n_features]]"))
    assert [axis.names for axis in experiment.axes] == [
        ("model.n_hidden", "model.n_features"),
        ("seed",),
    ]
    assert experiment.n_cells == 6
    assert experiment.axes[0].item(2) == (3, 5)


def test_zipped_values_are_tried_together():
    kinds = "data.kind: [uniform, one_hot], data.feature_probability: [0.5, null]"
    experiment = load(swept(kinds, "[[data.kind, data.feature_probability]]"))
    assert experiment.at({"data.kind": "one_hot", "data.feature_probability": None}).marginal()
    assert "not for one_hot" in problems(swept("data.kind: [uniform, one_hot]"))[0]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (BASE + "sweep: {method: random, parameters: {seed: [1]}}", "sweep.method: only grid"),
        (BASE + "sweep: {}", "sweep.parameters: is required"),
        (swept("seed: 3"), "needs a list, or a mapping with values"),
        (swept("seed: {linspce: {}}"), "needs a list, or a mapping with values"),
        (swept("seed: []"), "at least 1"),
        (swept("seed: {linspace: {start: 0, stop: 1}}"), "num: is required"),
        (swept("seed: {range: {start: 1, stop: 1}}"), "empty"),
        (swept("seed: {range: {start: 1, stop: 2, step: 0}}"), "must not be 0"),
        (swept("data.low: {geomspace: {start: 0, stop: 1, num: 2}}"), "above 0"),
        (swept("train.restarts: [1, 2]"), "same in every cell"),
        (swept("train.snapshots: [1, 2]"), "same in every cell"),
        (swept("train.select: [best]"), "same in every cell"),
        (swept("name: [a]"), "not a setting that can be swept"),
        (swept("trian.steps: [1]"), "did you mean 'train.steps'?"),
        (swept("data.importance.lst: [1]"), "has no entry 'lst'"),
        (swept("data.importance.7: [1]"), "names feature 7"),
        (swept("data.sparsity: [0.1], data.feature_probability: [0.1]"), "one setting"),
        (swept("seed: [1], train.steps: [1, 2]", "[[seed, train.steps]]"), "equal lengths"),
        (swept("seed: [1]", "[[seed, train.steps]]"), "'train.steps' is not among"),
        (swept("seed: [1]", "[[seed, seed]]"), "already zipped"),
        (swept("seed: [1]", "[[seed]]"), "at least 2"),
        (swept("train.steps: {linspace: {start: 1, stop: 3, num: 3}}"), "whole number; got 1.0"),
    ],
)
def test_wrong_sweeps(text, part):
    assert part in "\n".join(problems(text))


def test_each_wrong_value_of_an_axis_is_named():
    text = BASE + "sweep:\n  parameters:\n    data.importance.last: [1, -1]\n    train.steps:\n"
    text += "      values: [10, -1]\n    seed: {linspace: {start: -1, stop: 0, num: 2}}\n"
    assert problems(text) == [
        "f.yaml:6:31 sweep.parameters.data.importance.last.1: item 2 of 2 (-1): "
        "data.importance must not be negative; got -1 for feature 2",
        "f.yaml:8:20 sweep.parameters.train.steps.values.1: item 2 of 2 (-1): "
        "train.steps must be at least 0; got -1",
        "f.yaml:9:5 sweep.parameters.seed: item 1 of 2 (-1.0): seed needs a whole number; got -1.0",
        "f.yaml:9:5 sweep.parameters.seed: item 2 of 2 (0.0): seed needs a whole number; got 0.0",
    ]


def test_at_refuses_a_wrong_combination():
    experiment = load(swept("model.n_features: [3, 4], data.importance: [[1, 2, 3]]"))
    with pytest.raises(InvalidInput) as caught:
        experiment.at({"model.n_features": 4, "data.importance": [1, 2, 3]})
    assert caught.value.problems == (
        "model.n_features=4, data.importance=[1, 2, 3]: "
        "data.importance has 3 numbers, but the model has 4 features",
    )


def test_a_huge_grid_is_counted_not_expanded():
    parameters = "seed: {range: {start: 0, stop: 1000000000}}, "
    parameters += "data.sparsity: {linspace: {start: 0, stop: 0.9, num: 1_000_000_000}}"
    with within(2):
        experiment = load(swept(parameters))
        assert experiment.n_cells == 10**18
        assert experiment.axes[0].item(10**9 - 1) == (10**9 - 1,)
    assert "at most" in problems(swept(f"seed: {{range: {{start: 0, stop: {10**30}}}}}"))[0]


def test_hostile_configurations_end_soon():
    many = ",".join(["-1"] * 18_000)
    assert len(problems(swept(f"data.importance.last: [{many}]"))) == loading.MAX_BAD
    wide = data(
        "{sparsity: 0.5, importance: {geometric: 0.9}}", "{n_features: 100000, n_hidden: 2}"
    )
    with within(4):
        load(wide + "sweep: {parameters: {seed: {range: {start: 0, stop: 1000000000}}}}\n")
    assert problems("a: &a [x]\n" + "[" * 100_000)
    assert problems(BASE + "x: !!python/object/apply:os.system [ls]\n")
