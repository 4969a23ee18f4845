"""Settings of many cells at once: the same as resolving and hashing every one of them."""

import itertools

import numpy as np
import pytest
from helpers import BASE, load, plan, swept

from superposition_cli import config
from superposition_cli.config import shipped
from superposition_cli.config.axes import SWEPT
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid
from superposition_cli.toy.spec import Knobs

TRACED = {
    "seed": "[0, 7]",
    "data.feature_probability": "[0.25, [0.1, 0.2, 0.3, 0.4, 1]]",
    "data.sparsity": "[0.9, {geometric: {ratio: 0.7, first: 0.5}}]",
    "data.importance": "[1.0, {inverse_variance: true}, {last: 0.3}]",
    "data.high": "[1.0, 2.5]",
    "train.learning_rate": "[1e-3, 1.0]",
    "train.weight_decay": "[0.0, 0.01, 0.3]",
    "train.warmup_steps": "[0, 3]",
    "train.momentum": "[0.9, 0.0]",
    "train.second_moment": "[0.999, 0.5]",
    "train.epsilon": "[1e-8, 1e-3]",
    "train.draws": "[independent, shared]",
    "train.init_scale": "[1, 0.5]",
}
MORE = (  # axes, and what is set beside them
    ("data.importance.first: [2, 1], data.importance.last: [1, 0.5], data.importance.2: [3, 4]",),
    ("data.sparsity.first: [0.5, 0.1], data.sparsity: [0.9, [0.1, 0.2, 0.3, 0.4, 0.5]]",),
    ("train.optimizer: [adamw, sgd], train.weight_decay: [0.0, 0.01], train.momentum: [0, 0.9]",),
    ("model.n_features: [3, 5], data.importance: [{geometric: 0.5}, {power: 1}], seed: [1, 2]",),
    (
        "model.n_features: [3, 5], seed: [3, 4], data.importance.last: [1, 2]",
        "sweep.zip=[[model.n_features, seed]]",
    ),
    (
        "train.learning_rate: [0.1, 0.2], train.warmup_steps: [0, 5], seed: [1, 2, 3]",
        "sweep.zip=[[train.learning_rate, train.warmup_steps]]",
    ),
    ("data.low: [0.0, 0.5], data.high: [1, 2], data.sparsity: [0.2, 0.5]",),
    (
        "data.high: [1, 2]",
        "data={kind: correlated, sets: [[0, 1]], sparsity: 0.5, "
        "importance: {inverse_variance: true}}",
    ),
    (
        "seed: {range: {start: 5, stop: 9}}, "
        "data.sparsity: {linspace: {start: 0, stop: 0.9, num: 4}}",
    ),
    ("train.learning_rate: [0.01]", "data={kind: one_hot}"),
)


def same(made: grid.Plan) -> int:
    """Hold knobs and roots of all chunks against settings resolved one by one; count the models."""
    for chunk in made.chunks:
        members, dtype = made.members(chunk), made.groups[chunk.group].spec.dtype
        settings = [made.setting(int(cell)) for cell in members.cell]
        for name, array in grid.knobs_of(members, dtype)._asdict().items():
            expected = np.array([grid.OF_KNOBS[name](one) for one in settings], dtype)
            assert array.dtype == expected.dtype
            assert array.tobytes() == expected.tobytes(), name
        roots = grid.roots_of(members)
        assert roots.words.dtype == roots.seed.dtype == np.uint32
        assert roots.words.tolist() == [list(config.setting_words(one)) for one in settings]
        assert roots.seed.tolist() == [one.seed for one in settings]
        assert roots.shared.tolist() == [one.train.draws == "shared" for one in settings]
        assert list(members.settings) == [made.setting(int(one)) for one in np.unique(members.cell)]
    return sum(chunk.n_models for chunk in made.chunks)


def test_every_setting_that_varies_inside_a_program_is_tried():
    instances = {"train.init_instances"}  # below, with the initialisation that it is for
    assert {name for name in SWEPT if grid.is_traced((name,))} == {*TRACED} | instances
    assert {name.split(".")[-1] for name in TRACED} >= {*Knobs._fields} - {
        "low", "init_instances", "hidden_l1", "adversarial_norm"
    }  # fmt: skip


@pytest.mark.parametrize(
    "names", [one for one in itertools.combinations(TRACED, 2) if {*one} != {*list(TRACED)[1:3]}]
)
def test_any_two_settings_are_what_resolving_each_cell_gives(names):
    axes = ", ".join(f"{name}: {TRACED[name]}" for name in names)
    assert same(plan(swept(axes), size=5)) > 6


@pytest.mark.parametrize("case", MORE, ids=lambda case: case[0][:40])
def test_entries_zips_and_other_groups_are_what_resolving_each_cell_gives(case):
    same(plan(swept(case[0]), *case[1:], size=7))


def test_stacked_initialisations_are_what_resolving_each_cell_gives():
    base = BASE.replace("restarts: 2", "restarts: 2, init: notebook_stacked, init_instances: 2")
    same(plan(swept("train.init_instances: [1, 4], seed: [0, 1]", base), size=7))


def test_many_axes_at_random():
    drawn = np.random.default_rng(0)
    free = [name for name in TRACED if name != "data.sparsity"]
    for _ in range(6):
        names = drawn.permutation(free)[:5].tolist()
        axes = ", ".join(f"{name}: {TRACED[name]}" for name in names)
        assert same(plan(swept(axes), "train.restarts=1", size=int(drawn.integers(1, 60)))) >= 32


@pytest.mark.parametrize("name", shipped.configs())
def test_shipped_configurations_are_what_resolving_each_cell_gives(name):
    experiment = config.load(shipped.find(name), ["train.restarts=1"])
    made = grid.cut(experiment, lambda spec, n: min(n, 40))
    few = np.random.default_rng(1).permutation(len(made.chunks))[:3]
    object.__setattr__(made, "chunks", tuple(made.chunks[number] for number in few))
    assert same(made) >= 1


def test_a_combination_that_does_not_fit_is_refused_when_it_is_reached():
    base = BASE.replace("feature_probability: 0.1", "feature_probability: 0.1, low: 1, high: 3")
    text = swept("data.high: [1, 2], data.feature_probability: [0.5, 1.0]", base)
    made = grid.cut(load(text), lambda spec, n: n)
    (chunk,) = made.chunks
    with pytest.raises(InvalidInput, match=r"data\.low must be below high"):
        grid.knobs_of(made.members(chunk), "float32")


def test_a_million_cells_are_resolved_by_the_axis():
    axis = "{geomspace: {start: 0.01, stop: 1, num: 1000}}"
    text = swept(f"data.feature_probability: {axis}, data.importance.last: {axis}", BASE)
    made = grid.cut(load(text, "train.restarts=1", "data.importance=1"), lambda spec, n: 20_000)
    asked: list[int] = []
    setting = made.setting
    object.__setattr__(made, "setting", lambda cell: asked.append(cell) or setting(cell))
    for chunk in made.chunks[:2]:  # 20 values of p, 1,000 of r in each
        grid.roots_of(made.members(chunk))
    assert len(asked) <= 1000 + 2 * 20 + 5
