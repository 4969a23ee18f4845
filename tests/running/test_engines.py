"""Several processes at one run: the same bytes, and nothing lost when one is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import helpers
import pytest
from helpers import CHUNKS_OF_TWO, TINY, opened, trained

from superposition_cli.running import launch, sweep
from superposition_cli.running.engines import pool as module
from superposition_cli.running.folder import HOST, WORKER, Run

COMMAND = [sys.executable, "-c", "from superposition_cli.cli import main; main()"]
LONG = TINY.replace("steps: 60", "steps: 4000")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of three chunks as one process makes it."""
    return trained(tmp_path_factory.mktemp("alone") / "run", TINY, machine=CHUNKS_OF_TWO)


@pytest.fixture
def empty(tmp_path):
    """The same run before anything is trained."""
    return opened(tmp_path / "run", TINY, machine=CHUNKS_OF_TWO)


def tables(path: Path) -> list[bytes]:
    return [(path / name).read_bytes() for name in ("summary.csv", "cells.csv")]


def test_two_shares_and_finish_give_the_bytes_of_one_process(alone, empty, command):
    path = empty.run.path
    for shard in ("0/2", "1/2"):
        assert command("work", path, "--shard", shard, "-q").out == f"{path}\n"
    assert command("status", path, "--json").out.count('"committed": 3') == 1
    result = command("finish", path)
    assert (result.code, result.out) == (0, f"{path}\n")
    assert empty.sums == alone.sums
    assert tables(path) == tables(alone.run.path)
    assert Run.open(path).status()["state"] == "complete"
    (journal,) = (path / "events").iterdir()
    events = [json.loads(line)["event"] for line in journal.read_text().splitlines()]
    assert events == ["started", "committed", "committed", "started", "committed"]


def test_what_is_left_is_named_by_finish_and_by_status(empty, command):
    path = empty.run.path
    assert command("work", path, "--numbers", "1", "-q").code == 0
    result = command("finish", path)
    assert result.code == 4
    assert "2 of 3 chunks are still to be trained: 0, 2" in result.err
    about = json.loads(command("status", path, "--json").out)
    assert (about["committed"], about["chunks"], about["state"]) == (1, 3, "unknown")


def test_a_folder_is_made_by_the_first_that_works_at_a_configuration(tmp_path, command):
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    first = command("work", file, "--runs-dir", tmp_path / "runs", "-q")
    again = command("work", file, "--runs-dir", tmp_path / "runs", "-q")
    assert first.out == again.out
    assert command("finish", first.out.strip()).code == 0


@pytest.mark.parametrize("words", [("--shard", "2/2"), ("--shard", "a"), ("--numbers", "0,3")])
def test_shares_that_there_are_not_are_refused(empty, command, words):
    result = command("work", empty.run.path, *words)
    assert result.code == 2
    assert f"{words[0]} {words[1]}: needs i/N" in result.err


def test_the_loser_of_a_race_for_a_chunk_leaves_nothing_behind(alone, empty):
    """Both train it whole; the second finds the first's, and its own bytes are the same."""
    path = empty.run.path
    reached, go_on = threading.Event(), threading.Event()

    def wait() -> bool:
        reached.set()
        go_on.wait(60)
        return False

    slow = threading.Thread(target=sweep.run_chunk, args=(path, 0, lambda news: None, wait))
    slow.start()
    assert reached.wait(60)
    sweep.run_chunk(path, 0, lambda news: None, lambda: False)
    go_on.set()
    slow.join(60)
    assert empty.run.done(0)["sha256"] == alone.run.done(0)["sha256"]
    assert [one.name for one in (path / "chunks").iterdir()] == ["00000"]
    assert not list((path / "partial").glob("*"))


def test_what_a_living_process_is_writing_is_not_cleared_up(empty):
    chunks = empty.run.path / "chunks"
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    names = {
        "living": f".00000-{HOST}.{living.pid}-00aa.tmp",
        "far": ".00001-elsewhere.77-00aa.tmp",
        "old": ".00002-elsewhere.77-00aa.tmp",
        "own": f".00003-{WORKER}-00aa.tmp",
        "older version": ".00004-00aa.tmp",
    }
    for name in names.values():
        (chunks / name).mkdir()
    long_ago = time.time() - 100_000
    os.utime(chunks / names["old"], (long_ago, long_ago))
    empty.run.clean_up()
    assert {one.name for one in chunks.iterdir()} == {names["living"], names["far"]}
    living.communicate(b"\n")
    empty.run.clean_up()
    assert {one.name for one in chunks.iterdir()} == {names["far"]}


def test_a_pool_gives_the_bytes_of_one_process(alone, empty):
    news = empty.train(engine=module.pool, workers=2)
    assert empty.sums == alone.sums
    assert tables(empty.run.path) == tables(alone.run.path)
    assert sorted(one.chunk for one in news if one.finished) == [0, 1, 2]


def test_a_killed_worker_of_a_pool_loses_nothing(alone, empty, monkeypatch):
    """The first worker is killed with its chunk in hand; another takes the chunk."""
    killed = []
    give = module.Worker.give

    def give_and_kill(worker, number):
        give(worker, number)
        if not killed:
            killed.append(number)
            worker.process.send_signal(signal.SIGKILL)

    monkeypatch.setattr(module.Worker, "give", give_and_kill)
    empty.train(engine=module.pool, workers=1)
    assert killed == [0]
    assert empty.sums == alone.sums


def test_a_chunk_that_kills_its_workers_is_given_up(empty, monkeypatch):
    give = module.Worker.give

    def kill(worker, number):
        give(worker, number)
        worker.process.send_signal(signal.SIGKILL)

    monkeypatch.setattr(module.Worker, "give", kill)
    with pytest.raises(module.WorkerFailed, match="chunk 0 killed its workers"):
        empty.train(engine=module.pool, workers=1)


def test_a_failure_of_a_worker_is_told_in_its_own_words(empty):
    (empty.run.path / "config.resolved.yaml").write_text("name: [")
    with pytest.raises(module.WorkerFailed) as refused:
        empty.train(engine=module.pool, workers=1)
    assert "config.resolved.yaml" in str(refused.value)
    assert refused.value.exit_code == 2


def test_a_stopped_pool_keeps_its_states_and_goes_on(tmp_path):
    whole = trained(tmp_path / "whole", LONG, machine=CHUNKS_OF_TWO)
    cut = opened(tmp_path / "cut", LONG, machine=CHUNKS_OF_TWO)
    looks = helpers.after(12)  # half a second each
    with pytest.raises(sweep.Interrupted):
        list(sweep.run_all(cut.run, cut.plan, module.pool, 1, looks))
    assert Run.open(cut.run.path).status()["state"] == "stopped"
    cut.train()
    assert cut.sums == whole.sums


def test_two_processes_that_make_a_folder_at_once_make_one(tmp_path):
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    words = ["work", file, "--runs-dir", tmp_path / "runs", "-q", "--shard"]
    both = [
        subprocess.Popen([*COMMAND, *map(str, words), shard], stdout=subprocess.PIPE, text=True)
        for shard in ("0/2", "1/2")
    ]
    told = {process.communicate(timeout=120)[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    (path,) = map(Path, told)
    run, plan = launch.load(path)
    assert sweep.pending(run, plan) == []
    assert not list((path / "chunks").glob(".*"))
