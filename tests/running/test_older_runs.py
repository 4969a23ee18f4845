"""Run folders made by version 0.1.0 are shown, reported, held against their claims, resumed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import table

import superposition_cli
from superposition_cli.config import hash8, load, setting_words
from superposition_cli.running import launch

KEPT = Path(__file__).parents[1] / "data" / "version-0.1.0"


@pytest.fixture
def copied(tmp_path):
    """A copy of one of the kept folders."""
    return lambda name: Path(shutil.copytree(KEPT / name, tmp_path / name))


def test_its_configuration_has_the_hashes_it_had():
    experiment = load(KEPT / "finished" / "config.yaml")
    manifest = json.loads((KEPT / "finished" / "run.json").read_text())
    assert hash8(experiment) == manifest["hash8"] == "38b4b33d"
    # Of the first and the last cell, as version 0.1.0 computed them.
    _, plan = launch.load(KEPT / "finished")
    assert [setting_words(plan.setting(cell)) for cell in (0, 3)] == [
        (560546535, 469570314),
        (1162027803, 97714817),
    ]


def test_a_finished_run_is_shown_with_the_numbers_it_holds(command, copied):
    run = copied("finished")
    result = command("show", run, "--json")
    assert result.code == 0, result.err
    shown = json.loads(result.out)
    losses = [float(row["loss"]) for row in table(run / "cells.csv")]
    assert [float(row["loss"]) for row in shown["cells"]] == pytest.approx(losses, rel=1e-6)


def test_a_finished_run_is_reported_and_its_claims_are_held(command, copied):
    run = copied("finished")
    result = command("report", run)
    assert result.code == 0, result.err
    assert (
        "The denser cell of ReLU models costs more" in (run / "report" / "index.html").read_text()
    )
    assert command("verify", run, "-q").code == 0


def test_a_finished_run_has_nothing_left_to_train(command, copied):
    run = copied("finished")
    before = {path: path.read_bytes() for path in sorted(run.rglob("done.json"))}
    result = command("sweep", run / "config.yaml", "--out", run, "-q")
    assert (result.code, result.out) == (0, f"{run}\n")
    assert {path: path.read_bytes() for path in sorted(run.rglob("done.json"))} == before


def test_an_interrupted_run_is_resumed_to_the_numbers_of_the_finished_one(command, copied):
    run = copied("interrupted")
    acknowledged = (run / "chunks" / "00000" / "done.json").read_bytes()
    result = command("sweep", run / "config.yaml", "--out", run, "-q")
    assert result.code == 0, result.err
    assert (run / "chunks" / "00000" / "done.json").read_bytes() == acknowledged
    assert "state-000000040" not in str(list(run.rglob("*")))
    ended, finished = (superposition_cli.load(path) for path in (run, KEPT / "finished"))
    for number in range(8):
        for name, value in finished.model(number).items():
            # 60 steps on another processor: sums in another order, a few parts in 10^7 a step.
            np.testing.assert_allclose(ended.model(number)[name], value, rtol=1e-3, atol=1e-5)
