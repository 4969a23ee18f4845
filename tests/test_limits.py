"""Every limit in the settings is kept by the whole tool: trained, shown, reported and opened."""

import json

import annotated_types
import numpy as np
import pytest

import superposition_cli
from superposition_cli.config import marks
from superposition_cli.config.experiment import Experiment
from superposition_cli.config.settings import Setting
from superposition_cli.running import devices, grid

SMALL = {
    "model.n_features": 7,
    "model.n_hidden": 2,
    "data.feature_probability": 0.1,
    "train.steps": 0,
    "train.batch_size": 2,
    "train.eval_samples": 4,
    "train.snapshots": 2,
}
# What is set beside a setting that is at its limit. Steps are only planned: they are training.
BESIDE: dict[str, dict[str, object]] = {
    "seed": {},
    "model.n_features": {"model.n_hidden": 1},
    "model.n_hidden": {"model.n_features": 2},
    "train.order": {"train.objective": "exact_sparse", "data.feature_probability": 0.01},
    "train.warmup_steps": {},
    "train.batch_size": {"model.n_features": 2},
    "train.restarts": {"model.n_features": 2, "model.n_hidden": 1, "train.snapshots": 0},
    "train.init_instances": {"train.init": "notebook_stacked"},
    "train.eval_samples": {"model.kind": "relu_hidden", "train.batch_size": 2**20},
    "train.snapshots": {},
}
SLOW = ("train.restarts", "train.eval_samples")  # a minute, and half of one


def largest() -> dict[str, int]:
    """The upper limit of every whole number among the settings."""
    found = {}
    for place, _ in marks.fields(Setting):
        here = Setting
        for key in place[:-1]:
            here = here.model_fields[key].annotation
        field = here.model_fields[place[-1]]
        limits = [one for one in (*field.metadata, *_inside(field)) if _is_limit(one)]
        for limit in limits:
            if isinstance(limit.le, int):
                found[".".join(place)] = limit.le
    return found


def _inside(field):
    """The metadata of a type that is one of several, such as a number or nothing."""
    kinds = getattr(field.annotation, "__args__", ())
    return [
        one for kind in kinds for part in getattr(kind, "__metadata__", ()) for one in _open(part)
    ]


def _open(part):
    return getattr(part, "metadata", [part])


def _is_limit(one: object) -> bool:
    return isinstance(one, annotated_types.Le)


def written(**changes: object) -> str:
    tree: dict[str, dict[str, object]] = {"metrics": ["feature_norms", "n_represented"]}
    for name, value in {**SMALL, **changes}.items():
        *section, key = name.split(".")
        (tree.setdefault(section[0], {}) if section else tree)[key] = value
    return json.dumps({"name": "limit", **tree})


def test_every_limit_is_tried():
    assert set(largest()) == {*BESIDE, "train.steps"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in BESIDE]
)
def test_what_is_trained_at_a_limit_is_shown_reported_and_opened(tmp_path, command, name):
    file = tmp_path / "limit.yaml"
    file.write_text(written(**BESIDE[name], **{name: largest()[name]}))
    result = command("train", file, "-q", "--out", tmp_path / "run")
    assert result.code == 0, result.err
    for words in (("show",), ("analyze",), ("report", "-q")):
        result = command(words[0], tmp_path / "run", *words[1:])
        assert result.code == 0, result.err
        assert len(result.out.splitlines()) < 20
    run = superposition_cli.load(tmp_path / "run")
    models = largest()[name] if name == "train.restarts" else 1
    assert len(run.summary["loss"]) == len(run.weights["W"]) == models
    assert np.isfinite(run.summary["loss"]).all()


def test_a_limit_of_steps_is_planned(tmp_path, command):
    file = tmp_path / "limit.yaml"
    file.write_text(written(**{"train.steps": largest()["train.steps"]}))
    result = command("train", file, "--dry-run")
    assert result.code == 0, result.err
    assert "1e+08" in result.out


def test_what_memory_does_not_hold_is_refused_with_the_plan(tmp_path, command, monkeypatch):
    """A batch of 1000 inputs of 7 features in 2: (3 * 7 + 2 * 2) * 1000 * 4 bytes and more."""
    monkeypatch.setattr(devices, "available_bytes", lambda machine: 100_000)
    file = tmp_path / "limit.yaml"
    file.write_text(written(**{"train.batch_size": 1_000}))
    result = command("train", file, "-q", "--out", tmp_path / "run")
    assert result.code == 5
    assert "bytes of memory, 100,000 are free" in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_draw_of_too_many_numbers_is_refused_by_the_checker(tmp_path, command):
    file = tmp_path / "limit.yaml"
    file.write_text(written(**{"model.n_features": 5_000, "train.batch_size": 2**20}))
    result = command("validate", file)
    assert result.code == 2
    assert "train.batch_size: times n_features is 5,242,880,000 numbers" in result.err


def test_pairs_of_features_are_counted_before_they_are_made(monkeypatch):
    monkeypatch.setattr(devices, "FEW_PAIRS", 1)
    setting = Setting.model_validate(
        {
            "model": {"n_features": 2_000, "n_hidden": 2},
            "data": {"feature_probability": 0.1},
            "train": {"steps": 0, "batch_size": 1, "eval_samples": 1},
        }
    )
    spec = grid.spec_of(setting)
    pairs = 2_000**2 * 4
    with_pairs = devices.judging_bytes(spec, ("gram",), 3)
    assert 3 * pairs <= with_pairs < 10 * pairs
    assert devices.judging_bytes(spec, ("feature_norms",), 3) < pairs


# Eight thousand probabilities are 160,000 characters, more than a cell of CSV may hold.
WIDE = {
    "model.n_features": 8_000,
    "model.n_hidden": 4,
    "data.feature_probability": {"geomspace": {"start": 0.5, "stop": 0.0005}},
}


def test_thousands_of_uneven_features_are_a_short_text_everywhere(tmp_path, command):
    file = tmp_path / "limit.yaml"
    file.write_text(written(**WIDE))
    assert command("train", file, "-q", "--out", tmp_path / "run").code == 0
    shown = command("show", tmp_path / "run")
    assert shown.code == 0
    assert "0.5 … 0.0005 (8000)" in shown.out
    assert len(shown.out) < 1_000
    cell = json.loads(command("show", tmp_path / "run", "--json").out)["cells"][0]
    law = '{"geomspace": {"start": 0.5, "stop": 0.0005}}'
    assert cell["feature_probability"] == {"law": law, "min": 0.0005, "max": 0.5, "n": 8_000}
    assert cell["sparsity"]["min"] == 0.5
    run = superposition_cli.load(tmp_path / "run")
    assert run.summary["feature_probability"].tolist() == ["0.5 … 0.0005 (8000)"]
    p = run.vectors["feature_probability"]
    np.testing.assert_allclose(p, np.geomspace(0.5, 0.0005, 8_000)[None], rtol=1e-10)
    assert command("analyze", tmp_path / "run").code == 0
    for file in ("summary.csv", "cells.csv"):
        assert (tmp_path / "run" / file).stat().st_size < 1_000


def test_sixty_uneven_features_take_one_line(tmp_path, command):
    file = tmp_path / "limit.yaml"
    law = {"geomspace": {"start": 0.5, "stop": 0.005}}
    file.write_text(written(**{"model.n_features": 60, "data.feature_probability": law}))
    assert command("train", file, "-q", "--out", tmp_path / "run").code == 0
    result = command("show", tmp_path / "run")
    assert "0.5 … 0.005 (60)" in result.out
    assert len(result.out.splitlines()) < 8
    assert command("report", tmp_path / "run", "-q").code == 0
    told = (tmp_path / "run" / "report" / "report.md").read_text()
    assert "| 0.5 … 0.005 (60) |" in told


def test_the_settings_are_those_of_a_configuration():
    assert {name.split(".")[0] for name in largest()} <= set(Experiment.model_fields)
