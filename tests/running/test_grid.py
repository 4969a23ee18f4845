"""Grids: the order of cells, what compiles anew, and how models are cut into chunks."""

import time
import tracemalloc

import numpy as np
import pytest
from helpers import BASE, TINY, load, plan, swept

from superposition_cli.config import hashing
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid

TWO_AXES = swept("data.feature_probability: [0.5, 0.2, 0.1], seed: [7, 8]")
STATIC_AND_TRACED = swept(
    "seed: [1, 2], model.n_hidden: [1, 2, 3], train.learning_rate: [1e-3, 1e-2]"
)


def everyone(made):
    return [(chunk, made.members(chunk)) for chunk in made.chunks]


def test_cells_are_in_the_order_written_and_the_last_axis_is_the_fastest():
    made = plan(TWO_AXES)
    name = "data.feature_probability"
    assert [made.assignment(cell) for cell in range(6)] == [
        {name: p, "seed": seed} for p in (0.5, 0.2, 0.1) for seed in (7, 8)
    ]
    assert made.setting(3).seed == 8
    assert made.setting(3).feature_probability() == (0.2,) * 5


def test_model_numbers_are_cell_times_restarts_plus_restart():
    made = plan(TWO_AXES, size=5)
    members = [who for _, who in everyone(made)]
    models = np.concatenate([made.models(chunk) for chunk in made.chunks])
    assert models.tolist() == list(range(12))
    assert members[1].model.tolist() == [5, 6, 7, 8, 9]
    assert members[1].cell.tolist() == [2, 3, 3, 4, 4]
    assert members[1].restart.tolist() == [1, 0, 1, 0, 1]


def test_zipped_parameters_move_together_at_the_place_of_the_first():
    text = BASE + (
        "sweep:\n"
        "  parameters: {model.n_features: [4, 6], seed: [1, 2, 3], model.n_hidden: [2, 3]}\n"
        "  zip: [[model.n_features, model.n_hidden]]\n"
    )
    made = plan(text)
    assert made.n_models == 12
    seen = [made.setting(cell) for cell in range(6)]
    assert [(s.model.n_features, s.model.n_hidden, s.seed) for s in seen] == [
        (4, 2, 1),
        (4, 2, 2),
        (4, 2, 3),
        (6, 3, 1),
        (6, 3, 2),
        (6, 3, 3),
    ]
    assert [(g.spec.n_features, g.spec.n_hidden) for g in made.groups] == [(4, 2), (6, 3)]


@pytest.mark.parametrize(
    ("parameters", "groups"),
    [
        ("model.n_hidden: [1, 2, 3]", 3),
        ("model.kind: [linear, relu_output]", 2),
        ("model.n_features: [5, 6]", 2),
        ("train.batch_size: [32, 64]", 2),
        ("train.optimizer: [adamw, sgd]", 2),
        ("train.dtype: [float32, float64]", 2),
        ("train.steps: [10, 20]", 2),
        ("train.learning_rate: [1e-3, 1e-2]", 1),
        ("train.weight_decay: [0.0, 1e-2]", 1),
        ("train.warmup_steps: [0, 5]", 1),
        ("train.draws: [shared, independent]", 1),
        ("data.importance.last: [0.1, 1.0]", 1),
        ("data.sparsity: [0.1, 0.9]", 1),
        ("data.low: [-1.0, 0.0]", 2),  # closed forms hold for magnitudes from 0
        ("data.high: [1.0, 2.0]", 1),
        ("seed: [0, 1, 2]", 1),
        ("seed: [0, 1], model.n_hidden: [1, 2], model.kind: [linear, abs]", 4),
    ],
)
def test_only_static_axes_make_groups(parameters, groups):
    made = plan(swept(parameters))
    assert len(made.groups) == groups
    assert len({group.spec for group in made.groups}) == groups
    assert sum(group.n_models for group in made.groups) == made.n_models


@pytest.mark.parametrize(
    ("parameters", "flags"),
    [
        ("data.low: [0, 0.5, 1]", [False, False, True]),
        ("data.low: [1], data.sparsity: [0.1, 0.9]", [True]),
        ("data.low: [1], data.high: [1]", [True]),
        ("data.low: [1], data.high: [1, 2]", [False]),  # one program for both
        ("data.low: [1, -1], data.high: [1, 2]", [False, False]),
    ],
)
def test_magnitudes_are_constant_in_a_group_where_they_are_in_all_of_it(parameters, flags):
    made = plan(swept(parameters))
    assert [group.spec.constant for group in made.groups] == flags


def test_zipped_constants_have_a_group_each():
    made = plan(swept("data.low: [1, 2], data.high: [1, 2]"), "sweep.zip=[[data.low, data.high]]")
    assert [group.spec.constant for group in made.groups] == [True, True]


def test_a_field_is_traced_exactly_when_it_is_no_part_of_the_spec():
    """Every setting that can be swept lies in the Spec, the Knobs or the roots, never in two."""
    from superposition_cli.config.axes import SWEPT
    from superposition_cli.toy.spec import Spec

    static = {*Spec.__dataclass_fields__} - {"model", "data"} | {"kind"}
    # what is compiled of the next three
    static -= {"zero_based", "constant", "sparse_hidden", "attacked"}
    static |= {"low", "hidden_l1", "adversarial_norm"}
    for name in SWEPT:
        assert grid.is_traced((name,)) != (name.split(".")[-1] in static), name


def test_a_zip_of_a_static_and_a_traced_parameter_is_static():
    assert not grid.is_traced(("train.learning_rate", "model.n_hidden"))
    assert grid.is_traced(("data.importance.last", "seed"))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 24])
@pytest.mark.parametrize("text", [TINY, TWO_AXES, STATIC_AND_TRACED])
def test_chunks_hold_every_model_once_and_copies_only_fill_the_last(text, size):
    made = plan(text, size=size)
    found = []
    for chunk, members in everyone(made):
        group = made.groups[chunk.group]
        assert len(members.model) == chunk.size == group.chunk_models
        assert made.models(chunk).tolist() == members.model[: chunk.n_models].tolist()
        assert set(members.model[chunk.n_models :]) <= {members.model[chunk.n_models - 1]}
        assert chunk.n_models == chunk.size or chunk.stop == group.n_models
        assert (members.model == members.cell * made.restarts + members.restart).all()
        found += made.models(chunk).tolist()
    assert sorted(found) == list(range(made.n_models))
    assert [chunk.number for chunk in made.chunks] == list(range(len(made.chunks)))
    assert len(made.chunks) == sum(group.n_chunks for group in made.groups)


@pytest.mark.parametrize("text", [TWO_AXES, STATIC_AND_TRACED, swept("model.n_features: [3, 6]")])
def test_members_know_the_settings_of_their_own_cell(text):
    made = plan(text, size=3)
    for chunk, members in everyone(made):
        for place, cell in enumerate(members.cell):
            setting = members.settings[members.row[place]]
            assert setting == made.setting(int(cell))
            assert grid.spec_of(setting) == made.groups[chunk.group].spec


def test_specs_and_knobs_say_what_the_settings_say():
    text = BASE.replace("restarts: 2", "restarts: 1, weight_decay: 0.5, warmup_steps: 3") + (
        "sweep: {parameters: {train.learning_rate: [0.01, 0.02], data.importance: "
        "[1.0, [5, 4, 3, 2, 1], {last: 7}]}}\n"
    )
    made = plan(text, "data.low=-1", size=6)
    members = made.members(made.chunks[0])
    knobs = grid.knobs_of(members, "float32")
    assert knobs.importance.tolist() == [[1] * 5, [5, 4, 3, 2, 1], [1, 1, 1, 1, 7]] * 2
    assert knobs.learning_rate == pytest.approx([0.01] * 3 + [0.02] * 3)
    assert knobs.feature_probability == pytest.approx(np.full((6, 5), 0.1))
    assert knobs.low.tolist() == [-1] * 6
    assert knobs.weight_decay.tolist() == [0.5] * 6
    assert knobs.warmup_steps.tolist() == [3] * 6
    assert {leaf.dtype for leaf in knobs} == {np.dtype("float32")}
    assert {leaf.dtype for leaf in grid.knobs_of(members, "float64")} == {np.dtype("float64")}
    alone = grid.knobs_of_one(made.setting(2), "float32")
    for values, one in zip(knobs, alone, strict=True):
        assert one.tolist() == values[2].tolist()
    spec = grid.spec_of(made.setting(0))
    assert (spec.model, spec.n_features, spec.n_hidden) == ("relu_output", 5, 2)
    assert (spec.batch_size, spec.steps, spec.eval_samples) == (64, 60, 1024)


def test_roots_hold_seed_hash_restart_and_whether_draws_are_shared():
    made = plan(swept("seed: [3, 4], train.draws: [independent, shared]"), size=8)
    members = made.members(made.chunks[0])
    roots = grid.roots_of(members)
    assert roots.seed.tolist() == [3] * 4 + [4] * 4
    assert roots.restart.tolist() == [0, 1] * 4
    assert roots.shared.tolist() == [False, False, True, True] * 2
    words = [hashing.setting_words(made.setting(int(cell))) for cell in members.cell]
    assert roots.words.tolist() == [list(pair) for pair in words]


def roots_by_setting(text):
    """The roots of every model, by what identifies its cell, whatever its position."""
    found = {}
    for chunk, members in everyone(plan(text, size=5)):
        roots = grid.roots_of(members)
        for k in range(chunk.n_models):
            setting = members.settings[members.row[k]]
            key = (setting.model_dump_json(), int(members.restart[k]))
            found[key] = tuple(np.concatenate([np.ravel(part[k]) for part in roots]).tolist())
    return found


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("data.feature_probability: [0.5, 0.1]", "data.feature_probability: [0.7, 0.1, 0.2, 0.5]"),
        ("seed: [1]", "seed: [0, 1, 2], model.n_hidden: [3, 2]"),
        ("train.learning_rate: [1e-3]", "train.learning_rate: [1e-2, 1e-3], model.n_hidden: [2]"),
    ],
)
def test_more_cells_leave_the_keys_of_the_others_alone(small, large):
    before, grown = roots_by_setting(swept(small)), roots_by_setting(swept(large))
    shared = set(before) & set(grown)
    assert shared == set(before)
    assert all(before[key] == grown[key] for key in shared)
    assert len(set(grown.values())) == len(grown)  # no two models share a root


@pytest.mark.parametrize(
    "parameters",
    [
        "data.feature_probability: {linspace: {start: 0.1, stop: 1, num: 1_000_000_000}}",
        "seed: {range: {start: 0, stop: 100_000}}, train.learning_rate: "
        "{geomspace: {start: 1e-4, stop: 1e-1, num: 10_000}}",
    ],
)
def test_a_grid_of_a_thousand_million_cells_is_refused_at_once(parameters):
    begun = time.process_time()
    experiment = load(swept(parameters), "train.restarts=3")
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput) as refused:
            grid.plan(experiment, lambda spec, n: 4)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 2
    assert peak < 1 << 20
    assert "1,000,000,000 cells x 3 restarts = 3,000,000,000 models" in str(refused.value)
    assert "10,000,000" in str(refused.value)


def test_the_limit_on_models_counts_restarts():
    assert plan(TINY, max_models=6).n_models == 6
    with pytest.raises(InvalidInput, match=r"3 cells x 2 restarts = 6 models.* 5 "):
        plan(TINY, max_models=5)


def test_too_many_programs_are_refused_naming_the_axes():
    with pytest.raises(InvalidInput, match=r"model.n_hidden .*10,000 different programs"):
        plan(swept("model.n_hidden: {range: {start: 1, stop: 10_001}}"))


def test_a_plan_without_a_sweep_is_one_cell():
    made = plan(BASE)
    assert (made.n_models, len(made.groups), made.assignment(0)) == (2, 1, {})
    assert made.setting(0) == load(BASE).base


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize("text", [TINY, TWO_AXES, STATIC_AND_TRACED])
def test_a_model_is_found_where_its_chunk_says(text, size):
    made = plan(text, size=size)
    for chunk in made.chunks:
        for row, model in enumerate(made.models(chunk)):
            assert made.find(int(model)) == (chunk, row)


def test_a_combination_that_does_not_fit_is_refused_when_planned():
    text = swept("data.low: [0.0, 0.5], data.high: [1.0, 0.2]")
    with pytest.raises(InvalidInput, match=r"data\.low=0\.5, data\.high=0\.2"):
        plan(text)
