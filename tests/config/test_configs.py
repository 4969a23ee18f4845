"""Every shipped configuration loads, plans, fits together and says what it is for."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from superposition_cli import config
from superposition_cli.config import shipped
from superposition_cli.running import devices, grid, launch
from superposition_cli.toy import evaluate, train
from superposition_cli.toy.metrics import METRICS

CONFIGS = shipped.configs()
EACH = pytest.mark.parametrize("name", CONFIGS)
SEGMENT = 2


def load(name):
    return config.load(CONFIGS[name], known={"metrics": METRICS})


def test_there_are_some():
    assert "intro" in CONFIGS
    assert shipped.folder().is_dir()


@EACH
def test_the_header_says_command_cost_and_purpose(name):
    first, *rest = shipped.about(CONFIGS[name])
    assert first.split("  ")[0] in (f"sp sweep {name}", f"sp train {name}")
    assert first.startswith("sp sweep") == (load(name).sweep is not None)
    assert any(line.startswith("Cost: ") for line in rest)
    assert any(not line.startswith("Cost: ") for line in rest)


@EACH
def test_the_name_is_that_of_the_file(name):
    assert load(name).name == name


@EACH
def test_it_is_planned_for_this_machine(name):
    machine = devices.this_machine()
    plan = launch.make_plan(load(name), machine, grid.MAX_MODELS)
    cost = launch.estimate(plan, machine)
    assert cost.models == plan.n_models == sum(group.n_models for group in plan.groups)
    assert cost.bytes_memory < 2 << 30
    assert cost.bytes_disk < 2 << 30
    assert {plan.setting(cell).seed for cell in (0, plan.experiment.n_cells - 1)}


@EACH
def test_loading_what_was_resolved_gives_the_same_experiment(name):
    experiment = load(name)
    assert config.hash8(experiment) == config.hash8(config.loads(written(experiment), "again"))


def written(experiment):
    from superposition_cli.config import strict_yaml

    return strict_yaml.dumps(config.resolved(experiment))


@EACH
def test_every_program_has_shapes_that_fit(name):
    """Trace start, a segment of two steps and the verdict of one chunk per group."""
    experiment = load(name)
    plan = launch.make_plan(experiment, devices.this_machine(), grid.MAX_MODELS)
    for number, group in enumerate(plan.groups):
        chunk = next(chunk for chunk in plan.chunks if chunk.group == number)
        with jax.enable_x64(group.spec.dtype == "float64"):
            shapes_fit(group.spec, plan.members(chunk), tuple(experiment.metrics))


def shapes_fit(spec, members, metrics):
    count = len(members.model)
    knobs = grid.knobs_of(members, spec.dtype)
    keys, judged_by = jax.eval_shape(train.model_keys, *grid.roots_of(members))
    state = jax.eval_shape(partial(train.start, train.TOY, spec), knobs, keys)
    assert state.params["W"].shape == (count, spec.n_features, spec.n_hidden)
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype(spec.dtype)}
    advance = partial(train.run, train.TOY, spec, steps=range(SEGMENT))
    segment = jax.eval_shape(advance, knobs, keys, state)
    assert segment.loss.shape == (SEGMENT, count)
    same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), segment.state, state)
    assert all(jax.tree.leaves(same))
    verdict = jax.eval_shape(
        partial(evaluate.judge, spec, metrics), knobs, judged_by, segment.state.params
    )
    assert {"loss", "null_loss", "loss_normalised", *metrics} <= set(verdict)
    assert all(value.shape[0] == count for value in verdict.values())
