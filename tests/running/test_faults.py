"""What goes wrong with machines: kills, signals, full disks, two processes, closed pipes."""

import errno
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import CHUNKS_OF_TWO, TINY, opened, sp

from superposition_cli.config import shipped
from superposition_cli.errors import OutOfResources
from superposition_cli.running import launch, sweep
from superposition_cli.running.folder import Run

SP = Path(sys.executable).with_name("sp")
SEVERAL_CHUNKS = """\
name: faults
model: {n_features: 20, n_hidden: 5}
data: {feature_probability: 0.1, importance: {geometric: 0.7}}
train: {steps: 600, batch_size: 1024, restarts: 10, eval_samples: 2048, snapshots: 2}
sweep: {parameters: {data.feature_probability: [1.0, 0.5, 0.2, 0.1, 0.05, 0.02]}}
metrics: [n_represented]
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("faults") / "faults.yaml"
    path.write_text(SEVERAL_CHUNKS)
    return path


def begin(config, out):
    """Start the sweep in a process of its own."""
    command = [SP, "sweep", config, "--out", out]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


def finish(config, out):
    process = begin(config, out)
    told, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert told == f"{out}\n"
    return results(out)


def results(out):
    """The tables and the checksum of every committed file."""
    files = [out / "summary.csv", out / "cells.csv", *sorted(out.glob("chunks/*/*.safetensors"))]
    return {str(file.relative_to(out)): file.read_bytes() for file in files if file.exists()}


def acknowledged(out):
    """Check every chunk that is in its place against its checksums; return how many."""
    count = 0
    for done in out.glob("chunks/0*/done.json"):
        for name, checksum in json.loads(done.read_text())["sha256"].items():
            content = (done.parent / name).read_bytes()
            assert hashlib.sha256(content).hexdigest() == checksum, (done, name)
        count += 1
    return count


@pytest.fixture(scope="module")
def uninterrupted(config):
    return finish(config, config.parent / "whole")


def wait_for(out, event, process, seconds=60):
    deadline, events = time.monotonic() + seconds, out / "events.jsonl"
    while not (events.is_file() and f'"event": "{event}"' in events.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"no {event} within {seconds} s"
        time.sleep(0.02)


def killed(config, out, moments):
    before = 0
    for moment in moments:
        process = begin(config, out)
        time.sleep(moment)
        process.kill()
        process.communicate()
        count = acknowledged(out)
        assert count >= before  # nothing acknowledged is lost
        before = count
    return before


def test_kill_9_at_any_moment_loses_nothing_acknowledged(config, tmp_path, uninterrupted):
    moments = sorted(random.Random(1).uniform(0.3, 7) for _ in range(3))
    killed(config, tmp_path / "run", moments)
    assert finish(config, tmp_path / "run") == uninterrupted
    assert not list((tmp_path / "run" / "chunks").glob(".*"))


@pytest.mark.slow
def test_kill_9_at_twenty_moments(config, tmp_path, uninterrupted):
    moments = [random.Random(2).uniform(0.2, 8) for _ in range(20)]
    killed(config, tmp_path / "run", moments)
    assert finish(config, tmp_path / "run") == uninterrupted


def test_signals_keep_the_state(config, tmp_path, uninterrupted):
    out = tmp_path / "run"
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
        process = begin(config, out)
        wait_for(out, "started", process)
        if number == signal.SIGTERM:
            wait_for(out, "committed", process)
        begun = time.monotonic()
        process.send_signal(number)
        told, errors = process.communicate(timeout=30)
        assert time.monotonic() - begun < 10
        assert process.returncode == code, errors
        assert told == ""
        assert "the same command goes on from here" in errors
        assert "Traceback" not in errors
        assert json.loads((out / "status.json").read_text())["state"] == "stopped"
        assert list(out.glob("partial/*/state-*.safetensors"))
        assert acknowledged(out) >= 1
        (out / "events.jsonl").unlink()
    assert finish(config, out) == uninterrupted
    assert not (out / "partial").exists()


def test_a_second_signal_ends_at_once(config, tmp_path):
    out = tmp_path / "run"
    process = begin(config, out)
    wait_for(out, "started", process)
    process.send_signal(signal.SIGTERM)
    process.stderr.readline()  # the word that the first was heard
    process.send_signal(signal.SIGTERM)
    begun = time.monotonic()
    assert process.wait(timeout=10) == 143
    assert time.monotonic() - begun < 2
    process.communicate()


def test_an_interrupt_before_training_ends_at_once(config, capsys, monkeypatch):
    def interrupted(_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(5)

    monkeypatch.setattr(shipped, "find", interrupted)
    before = signal.getsignal(signal.SIGINT)
    try:
        assert sp(capsys, monkeypatch, "sweep", config) == (130, "", "")
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_process_is_turned_away_at_once(config, capsys, monkeypatch, uninterrupted):
    whole = config.parent / "whole"
    with Run.open(whole).locked():
        result = sp(capsys, monkeypatch, "sweep", config, "--out", whole)
    holder = f"pid {os.getpid()} on {socket.gethostname()}"
    assert result == (4, "", f"sp: {whole}: in use by {holder}\n")


def test_a_closed_pipe_has_no_traceback(config, uninterrupted):
    command = f"'{SP}' show '{config.parent / 'whole'}' --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_a_file_in_place_of_the_runs_folder_is_named(config, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sweep, "run_chunk", None)  # refused before anything is compiled
    for option, where in (("--runs-dir", "file/faults-"), ("--out", "file")):
        result = sp(capsys, monkeypatch, "sweep", config, option, tmp_path / "file")
        assert result.code == 5
        assert f"sp: cannot write {tmp_path}/{where}" in result.err
        assert (result.err.count("\n"), result.out) == (1, "")


def test_a_disk_without_room_is_found_before_training(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("superposition_cli.running.fsio.free_bytes", lambda path: 1000)
    result = sp(capsys, monkeypatch, "sweep", config, "--out", tmp_path / "run")
    assert result.code == 5
    assert "needs about" in result.err
    assert "1,000 are free" in result.err
    assert not (tmp_path / "run").exists()


def stand_in(path, number, report, stopping):
    """A chunk without JAX: the same files, numbers that follow from the models."""
    run, plan = launch.load(path)
    chunk = plan.chunks[number]
    numbers = plan.models(chunk).astype(float)
    losses = ("loss", "null_loss", "loss_normalised", "loss_error")
    names = ("model", *losses, *plan.experiment.metrics)
    metrics = dict.fromkeys(names, numbers)
    metrics["finite_steps"] = np.full(len(numbers), plan.groups[0].spec.steps)
    metrics["converged"] = numbers > 2
    run.save_partial(chunk.number, 20, {"numbers": numbers})
    parts = {"weights": {"W": numbers}, "history": {"loss": numbers}, "metrics": metrics}
    facts = {"models": len(numbers), "diverged": 0, "steps": 60}
    run.commit(chunk.number, parts, lambda name, part: ("model",), facts)
    report(sweep.Progress(number, len(numbers), 60, True, 0))


class Disk:
    """Counts every write and lets the one of a given number fail."""

    def __init__(self, monkeypatch, problem, at):
        self.count, self.at, self.problem = 0, at, problem
        self.patch(monkeypatch, os, "fsync")
        for name in ("replace", "rename", "mkdir"):
            self.patch(monkeypatch, Path, name)

    def patch(self, monkeypatch, owner, name):
        original = getattr(owner, name)

        def counted(*words, **options):
            self.count += 1
            if self.count == self.at:
                raise self.problem
            return original(*words, **options)

        monkeypatch.setattr(owner, name, counted)


class PowerCut(BaseException):
    """Ends everything at once."""


def full_and_resumed(folder, problem, at, monkeypatch):
    """Fail at write number `at`; then resume. Returns whether it got as far as that."""
    with monkeypatch.context() as patched:
        disk, ended = Disk(patched, problem, at), None
        try:
            opened(folder, machine=CHUNKS_OF_TWO).train()
        except (OutOfResources, PowerCut) as ending:
            ended = ending
        reached = disk.count >= at
    if isinstance(ended, OutOfResources):
        told = str(ended)
        assert told.startswith(f"cannot write {folder}")
        assert told.endswith(": No space left on device")
    sound = acknowledged(folder)
    again = opened(folder, TINY, machine=CHUNKS_OF_TWO)
    assert len(again.train()) == 3 - sound  # the acknowledged ones are not trained again
    return reached


@pytest.mark.parametrize("problem", [OSError(errno.ENOSPC, "No space left on device"), PowerCut()])
def test_a_failure_at_every_write_in_turn_loses_nothing(tmp_path, monkeypatch, problem):
    monkeypatch.setattr(sweep, "run_chunk", stand_in)
    monkeypatch.setattr("superposition_cli.running.folder.environment", dict)
    (tmp_path / "whole").mkdir()
    opened(tmp_path / "whole" / "run", machine=CHUNKS_OF_TWO).train()
    expected, at, reached = results(tmp_path / "whole" / "run"), 0, True
    while reached:
        at += 1
        folder = tmp_path / f"{at}" / "run"
        folder.parent.mkdir()
        reached = full_and_resumed(folder, problem, at, monkeypatch)
        assert results(folder) == expected, f"write {at}"
        assert acknowledged(folder) == 3
        assert not [path for path in folder.rglob("*.tmp")], f"write {at}"
    assert at > 60  # every file was met


def test_a_folder_of_another_configuration_is_refused_with_the_difference(
    config, capsys, monkeypatch, uninterrupted
):
    whole = config.parent / "whole"
    result = sp(capsys, monkeypatch, "sweep", config, "--set", "train.steps=601", "--out", whole)
    assert (result.code, result.out) == (4, "")
    assert result.err == f"sp: {whole}: holds another configuration: train.steps: 600 -> 601\n"


def test_a_folder_with_other_files_is_left_alone(config, tmp_path, capsys, monkeypatch):
    (tmp_path / "config.yaml").write_text("mine")
    result = sp(capsys, monkeypatch, "sweep", config, "--out", tmp_path)
    assert result.code == 4
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]
    assert (tmp_path / "config.yaml").read_text() == "mine"


def test_fresh_moves_the_old_folder_aside_but_not_from_under_a_process(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(sweep, "run_chunk", stand_in)
    tiny, out = tmp_path / "tiny.yaml", tmp_path / "run"
    tiny.write_text(TINY)
    command = ("sweep", tiny, "--out", out, "--fresh", "-q")
    assert sp(capsys, monkeypatch, *command).code == 0
    (out / "mark").write_text("")
    with opened(out).run.locked():
        result = sp(capsys, monkeypatch, *command)
        assert (result.code, "in use by" in result.err) == (4, True)
        assert (out / "mark").exists()
    assert sp(capsys, monkeypatch, *command).code == 0
    assert not (out / "mark").exists()
    (aside,) = tmp_path.glob("run.2*")
    assert (aside / "mark").exists()
    assert (aside / "summary.csv").exists()
