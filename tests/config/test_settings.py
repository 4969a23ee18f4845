"""Settings: defaults, ranges, and what data and model demand of each other."""

import pytest
from config_texts import BASE, data, load, problems

from superposition_cli import config
from superposition_cli.config import strict_yaml
from superposition_cli.running import grid


def test_defaults():
    experiment = load()
    train = experiment.train
    assert experiment.seed == 0
    assert experiment.model.kind == "relu_output"
    assert experiment.metrics == ("feature_norms", "feature_dimensionality")
    assert (experiment.analyses, experiment.expect, experiment.cost) == ((), (), "fast")
    assert (train.optimizer, train.learning_rate, train.weight_decay) == ("adamw", 1e-3, 1e-2)
    assert (train.steps, train.batch_size, train.restarts) == (10_000, 1024, 1)
    assert (train.momentum, train.second_moment, train.epsilon) == (0.9, 0.999, 1e-8)
    assert (train.eval_samples, train.snapshots, train.dtype) == (131_072, 20, "float32")
    assert (experiment.sweep, experiment.axes, experiment.n_cells) == (None, (), 1)


@pytest.mark.parametrize(
    ("optimizer", "decay", "momentum"), [("adamw", 0.01, 0.9), ("adam", 0, 0.9), ("sgd", 0, 0)]
)
def test_defaults_follow_the_optimizer(optimizer, decay, momentum):
    experiment = load(BASE, f"train.optimizer={optimizer}")
    assert config.resolved(experiment)["train"]["weight_decay"] == decay
    assert experiment.train.momentum == momentum
    assert load().at({"train.optimizer": optimizer}).train.weight_decay == decay


def test_alias_of_the_model():
    assert load(BASE, "model.kind=linear_hidden").model.kind == "relu_output"
    assert config.hash8(load(BASE, "model.kind=linear_hidden")) == config.hash8(load())


def test_sections_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        load().train.steps = 3


@pytest.mark.parametrize(
    "override",
    [
        "name=-x",
        "name=" + "x" * 101,
        "name=a/b",
        "name='a\n'",
        "seed=-1",
        "seed=4294967296",
        "seed=1.0",
        "seed=true",
        "model.n_features=0",
        "model.n_features=100001",
        "model.n_hidden=0",
        "data.feature_probability=0",
        "data.feature_probability=1.1",
        "data.sparsity=1",
        "data.sparsity=-0.1",
        "data.importance=-1",
        "data.importance={inverse_variance: false}",
        "data.feature_probability={inverse_variance: true}",
        "data.low=1.5",
        "data.high=0",
        "data.target=square",
        "train.objective=exact",
        "train.learning_rate=0",
        "train.learning_rate='1e-3'",
        "train.learning_rate=true",
        "train.weight_decay=-1",
        "train.momentum=1",
        "train.steps=-1",
        "train.steps=100000001",
        "train.batch_size=1048577",
        "train.restarts=1000001",
        "train.select=worst",
        "train.snapshots=1001",
        "train.init=notebook_stacked",
        "train.init_instances=3",
        "train.init_scale=0",
        "train.eval_samples=16777217",
        "train.dtype=float16",
        "cost=cheap",
        "sweep={parameters: {}}",
        "data.sets=[[0, 1, 2]]",
        "data.kind=correlated",
        "data.kind=one_hot",
    ],
)
def test_out_of_range(override):
    found = problems(BASE, override)
    assert len(found) == 1
    indirect = ("data.kind=correlated", "data.kind=one_hot", "train.init=notebook_stacked")
    assert found[0].startswith("--set " if override not in indirect else "f.yaml:")


def test_whole_numbers_do_for_floats():
    assert load(BASE, "train.learning_rate=1").train.learning_rate == 1.0


def test_marginals():
    assert load(data("{kind: one_hot}")).base.marginal() == (1 / 3,) * 3
    sets = "sets: [[0, 1], [2]], feature_probability: [0.4, 0.4, 0.2]"
    assert load(data(f"{{kind: correlated, {sets}}}")).base.marginal() == (0.4, 0.4, 0.2)
    paper = load(data(f"{{kind: anticorrelated, {sets}}}")).base
    assert paper.marginal() == (0.2, 0.2, 0.2)
    assert paper.feature_probability() == (0.4, 0.4, 0.2)
    arena = data(f"{{kind: anticorrelated, {sets}, anticorrelated_marginal: arena}}")
    assert load(arena).base.marginal() == (0.4, 0.4, 0.2)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("sets: [[0, 1], [1, 2]], sparsity: 0.5", "feature 1 is there twice"),
        ("sets: [[0, 1], [2, 3]], sparsity: 0.5", "names feature 3"),
        ("sets: [[0, 1, 2], []], sparsity: 0.5", "at least 1"),
        ("sets: [[0, 1, 2.0]], sparsity: 0.5", "whole number"),
        ("sets: [[0, 1], [2]], sparsity: [0.1, 0.2, 0.3]", "equal within the set [0, 1]"),
        ("sets: [[0, 1, 2]], sparsity: 0.5, anticorrelated_marginal: arena", "exceeds 1"),
        (
            "sets: [[0, 1], [1, 5]], sparsity: 0.5, importance: {inverse_variance: true}",
            "feature 5",
        ),
    ],
)
def test_wrong_sets(written, part):
    assert part in problems(data(f"{{kind: anticorrelated, {written}}}"))[0]


TIED = "{kind: correlated, feature_probability: 0.1, sets: SETS}"


def tied(sets, n):
    return load(data(TIED.replace("SETS", sets)), f"model.n_features={n}")


def test_features_in_no_set_are_sets_of_their_own():
    short, whole = tied("[[3, 1]]", 5), tied("[[3, 1], [0], [2], [4]]", 5)
    assert short.base.sets() == ((3, 1), (0,), (2,), (4,))
    assert grid.spec_of(short.base).sets == short.base.sets()
    assert config.hash8(short) == config.hash8(whole)
    assert config.setting_words(short.base) == config.setting_words(whole.base)
    other = tied("[[0], [3, 1], [2], [4]]", 5)  # another order draws otherwise
    assert config.hash8(other) != config.hash8(whole)
    assert short.at({"model.n_features": 6}).sets() == ((3, 1), (0,), (2,), (4,), (5,))
    anti = load(
        data("{kind: anticorrelated, sets: [[3, 1]], feature_probability: 0.1}"),
        "model.n_features=5",
    )
    assert anti.base.marginal() == (0.1, 0.05, 0.1, 0.05, 0.1)


def test_stacked_initialisation():
    text = BASE + "train: {init: notebook_stacked, init_instances: 5}\n"
    assert load(text).train.init_instances == 5


PACKING = """\
name: x
model: {kind: linear, n_features: 3, n_hidden: 2}
train: {objective: packing}
"""


def test_a_packing_has_no_data():
    experiment = load(PACKING)
    assert experiment.base.feature_probability() == (1 / 3,) * 3
    assert load(strict_yaml.dumps(config.resolved(experiment))).base == experiment.base
    assert "f.yaml:1:1 data: is required" in problems(PACKING, "train.objective=sampled")


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("data={feature_probability: 0.1}", "draws no inputs"),
        ("model.kind=relu_output", "must be linear for packing"),
        ("model.n_hidden=3", "must exceed n_hidden"),
        ("train.optimizer=lbfgs", "the same from step to step"),
        ("sweep={parameters: {data.importance: [0.5]}}", "draws no inputs"),
    ],
)
def test_what_means_nothing_to_a_packing_is_refused(override, part):
    (found,) = problems(PACKING, override)
    assert part in found


def test_magnitudes_may_be_constant():
    experiment = load(BASE, "data.low=1")
    assert (experiment.data.low, experiment.data.high) == (1, 1)
    # one-hot of three, always 2: var = q (1 - q) 4 = 8/9
    weights = load(
        data("{kind: one_hot, low: 2, high: 2, importance: {inverse_variance: true}}")
    ).base
    assert weights.importance() == pytest.approx((9 / 8,) * 3, rel=1e-12)


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("low: 0, high: 0, sparsity: 0.5", "must not be 0 as low is: all inputs would be 0"),
        ("low: 2, high: 1.5, sparsity: 0.5", "must not exceed high; got 2 and 1.5"),
        ("low: 1, feature_probability: 1", "all inputs would be equal"),
        (
            "low: 1, feature_probability: [1, 1, 0.5], importance: {inverse_variance: true}",
            "inverse_variance: feature 0 does not vary",
        ),
    ],
)
def test_constant_magnitudes_must_leave_something_to_tell(written, part):
    (found,) = problems(data(f"{{{written}}}"))
    assert part in found


SEVEN = """\
name: x
model: {kind: relu_hidden, n_features: 7, n_hidden: 2}
data: {sparsity: 0.5}
train: {objective: population}
"""


def test_too_many_nodes_for_the_population_are_counted():
    assert problems(SEVEN) == [
        "f.yaml:4:9 train.objective: population would need 82,008 nodes for 128 activity patterns "
        "of 7 features; at most 74,770: use sampled"
    ]


@pytest.mark.parametrize(
    "overrides",
    [
        ("data.low=1",),
        ("model.n_features=14", "data.low=1"),
        ("data={kind: one_hot}", "model.n_features=100"),
        ("data={kind: one_hot}", "model={kind: relu_output, n_features: 300, n_hidden: 20}"),
        ("data={kind: correlated, sparsity: 0.5, sets: [[0, 1, 2], [3, 4], [5, 6]]}",),
        ("data={kind: anticorrelated, sparsity: 0.5, sets: [[0, 1, 2], [3, 4], [5], [6]]}",),
        ("model={kind: linear, n_features: 5000, n_hidden: 20}",),
    ],
)
def test_few_nodes_or_none_have_a_population_of_many_features(overrides):
    assert load(SEVEN, *overrides).train.objective == "population"
