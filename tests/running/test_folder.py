"""The run folder: locked, committed whole, checked, and rebuilt after a fault."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from filelock import FileLock
from helpers import BASE, load
from safetensors import safe_open

from superposition_cli.errors import FolderRefused, InvalidInput
from superposition_cli.running import environment, folder
from superposition_cli.running.folder import WORKER, Run

PARTS = {
    "weights": {"W": np.ones((2, 3))},
    "history": {"loss": np.zeros((2, 4))},
    "metrics": {"loss": np.array([1.0, 2.0])},
}
FACTS = {"models": 2, "diverged": 0, "steps": 4}


def axes(name, part):
    return ("model", f"of {part}")


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", {"name": "x"}, {"config.yaml": "name: x\n"})


@pytest.fixture
def chunk(run):
    run.commit(0, PARTS, axes, FACTS)
    return run.path / "chunks" / "00000"


def test_a_made_folder_opens_and_says_what_it_is(run):
    assert Run.open(run.path).manifest == {"schema_version": 1, "name": "x"} == run.manifest
    assert (run.path / "config.yaml").read_text() == "name: x\n"
    assert (run.path / "chunks").is_dir()


def test_run_json_comes_last(tmp_path, monkeypatch):
    made = []
    write = folder.fsio.write_bytes
    monkeypatch.setattr(
        folder.fsio, "write_bytes", lambda path, data: made.append(path.name) or write(path, data)
    )
    Run.create(tmp_path / "run", {}, {"config.yaml": "", "config.resolved.yaml": ""})
    assert made == ["config.yaml", "config.resolved.yaml", "env.json", "run.json"]


def test_the_environment_holds_versions_and_no_variables(run, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "do-not-write-me")
    about = environment.environment()
    assert about["packages"]["jax"]
    assert about["schema_version"] == 1
    assert "do-not-write-me" not in json.dumps(about)


@pytest.mark.parametrize("manifest", ['{"schema_version": 2}', "{}", "[]", "3", "{", ""])
def test_another_layout_or_a_torn_manifest_is_refused(run, manifest):
    (run.path / "run.json").write_text(manifest)
    with pytest.raises(FolderRefused, match=r"run\.json"):
        Run.open(run.path)


def test_a_folder_without_a_run_and_a_linked_one_are_refused(run, tmp_path):
    with pytest.raises(FolderRefused, match="no run here"):
        Run.open(tmp_path)
    (tmp_path / "link").symlink_to(run.path)
    with pytest.raises(FolderRefused, match="symbolic link"):
        Run.open(tmp_path / "link")
    assert list(folder.find(tmp_path)) == [run.path]


def test_a_linked_chunk_is_refused(run, chunk):
    elsewhere = chunk.rename(run.path / "elsewhere")
    chunk.symlink_to(elsewhere)
    for act in (run.is_committed, run.fault, run.done, lambda i: run.read(i, "weights")):
        with pytest.raises(FolderRefused, match="symbolic link"):
            act(0)


def test_a_second_holder_is_refused_naming_the_first(run):
    with run.locked():
        with pytest.raises(FolderRefused) as refused, Run.open(run.path).locked():
            pass
        assert f"in use by pid {os.getpid()} on {socket.gethostname()}" in str(refused.value)
        assert "\n" not in str(refused.value)
    with run.locked():
        pass


def test_the_lock_holds_between_processes_and_is_free_after_kill_9(run):
    code = (
        "import sys, time; from pathlib import Path\n"
        "from superposition_cli.running.folder import Run\n"
        f"with Run.open(Path({str(run.path)!r})).locked():\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(FolderRefused, match=f"pid {holder.pid} on"), run.locked():
            pass
        holder.kill()
    with run.locked():
        assert f"pid {os.getpid()} " in (run.path / ".lock-owner").read_text()


def test_a_lock_whose_holder_left_no_name_is_refused_all_the_same(run):
    with (
        FileLock(run.path / ".lock"),
        pytest.raises(FolderRefused, match="in use by another process"),
        run.locked(),
    ):
        pass


def test_the_lock_is_given_back_after_a_failure(run):
    with pytest.raises(ZeroDivisionError), run.locked():
        raise ZeroDivisionError
    with run.locked():
        pass


def test_a_committed_chunk_reads_back_and_is_sound(run, chunk):
    assert run.is_committed(0)
    assert run.fault(0) is None
    assert run.read(0, "weights")["W"].tolist() == [[1.0] * 3] * 2
    done = run.done(0)
    assert {key: done[key] for key in FACTS} == FACTS
    assert done["schema_version"] == 1
    names = ["done.json", *(f"{part}.safetensors" for part in PARTS)]
    assert sorted(path.name for path in chunk.iterdir()) == sorted(names)
    assert [path.name for path in chunk.parent.iterdir()] == ["00000"]


def test_arrays_carry_the_names_of_their_axes(run, chunk):
    with safe_open(chunk / "history.safetensors", "numpy") as file:
        assert file.metadata() == {"schema_version": "1", "loss": "model of history"}


def test_an_interrupted_commit_acknowledges_nothing(run, monkeypatch):
    def fail(source, target):
        assert not target.exists()
        assert (source / "done.json").is_file()  # whole before it is renamed into its place
        raise KeyboardInterrupt

    run.save_partial(0, 5, {"a": np.ones(1)})
    monkeypatch.setattr("pathlib.Path.rename", fail)
    with pytest.raises(KeyboardInterrupt):
        run.commit(0, PARTS, axes, FACTS)
    monkeypatch.undo()
    assert not run.is_committed(0)
    assert run.load_partial(0) is not None
    run.clean_up()
    assert list((run.path / "chunks").iterdir()) == []


def change(path, edit):
    path.write_bytes(edit(path.read_bytes()))


def flipped(at):
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at:][1:]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("at", [0, 20, 60, -1])
def test_a_flipped_bit_is_found(run, chunk, part, at):
    file = chunk / f"{part}.safetensors"
    change(file, flipped(at % file.stat().st_size))
    assert run.fault(0) == f"checksum of {part}.safetensors does not match"


@pytest.mark.parametrize("part", PARTS)
def test_a_truncated_or_deleted_file_is_found(run, chunk, part):
    file = chunk / f"{part}.safetensors"
    change(file, lambda data: data[:-8])
    assert "checksum" in run.fault(0)
    file.unlink()
    assert "unreadable" in run.fault(0)


def edited_done(chunk, edit):
    done = json.loads((chunk / "done.json").read_text())
    edit(done)
    (chunk / "done.json").write_text(json.dumps(done))


EDITS = {
    "an extra name": lambda done: done["sha256"].update({"more.safetensors": "0"}),
    "a path upwards": lambda done: done["sha256"].update({"../../x": "0"}),
    "a missing name": lambda done: done["sha256"].pop("history.safetensors"),
    "no names": lambda done: done.update(sha256={}),
    "no mapping": lambda done: done.update(sha256=["weights.safetensors"]),
    "no checksums": lambda done: done.pop("sha256"),
    "no counts": lambda done: done.pop("diverged"),
    "a word for a count": lambda done: done.update(diverged="0"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_done_json_that_says_something_else_is_found(run, chunk, edit):
    edited_done(chunk, EDITS[edit])
    assert run.fault(0)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3"])
def test_a_torn_done_json_is_found(run, chunk, content):
    (chunk / "done.json").write_text(content)
    assert run.fault(0)


def test_a_chunk_without_done_json_is_not_acknowledged(run, chunk):
    (chunk / "done.json").unlink()
    assert not run.is_committed(0)
    assert "unreadable" in run.fault(0)


def test_quarantine_keeps_the_damaged_chunk_and_makes_room(run, chunk):
    moved = run.quarantine(0)
    assert moved.parent == run.path / "quarantine"
    assert (moved / "done.json").is_file()
    assert not chunk.exists()
    run.commit(0, PARTS, axes, FACTS)
    assert run.quarantine(0) != moved
    assert len(list((run.path / "quarantine").iterdir())) == 2


def test_the_newest_partial_state_is_the_only_one_kept(run):
    for step in (5, 100, 20):
        run.save_partial(3, step, {"a": np.array([step])})
    folder = run.path / "partial" / "00003"
    assert [file.name for file in folder.iterdir()] == [f"state-000000020-{WORKER}.safetensors"]
    step, arrays = run.load_partial(3)
    assert (step, arrays["a"].tolist()) == (20, [20])
    assert run.load_partial(4) is None


def test_a_torn_partial_state_gives_way_to_an_older_one(run):
    run.save_partial(3, 5, {"a": np.array([5])})
    newer = run.path / "partial" / "00003" / "state-000000009.safetensors"  # as of version 0.1.0
    first = newer.parent / f"state-000000005-{WORKER}.safetensors"
    older = first.read_bytes()
    newer.write_bytes(older)
    assert run.load_partial(3)[0] == 9
    newer.write_bytes(older[:-1])
    (newer.parent / "state-x.safetensors").write_bytes(b"")
    assert run.load_partial(3)[0] == 5
    first.unlink()
    assert run.load_partial(3) is None


def test_a_commit_drops_the_partial_state(run):
    run.save_partial(0, 5, {"a": np.ones(1)})
    run.commit(0, PARTS, axes, FACTS)
    assert run.load_partial(0) is None
    run.clean_up()
    assert not (run.path / "partial").exists()


def test_sweeping_up_keeps_states_and_chunks(run, chunk):
    run.save_partial(1, 5, {"a": np.ones(1)})
    (chunk.parent / ".00001-abcd.tmp").mkdir()
    run.clean_up()
    assert run.load_partial(1) is not None
    assert [path.name for path in chunk.parent.iterdir()] == ["00000"]


@pytest.mark.parametrize("content", [None, "", '{"state": "runn', "[]", "null"])
def test_a_torn_status_is_unknown_and_can_be_written_again(run, content):
    if content is not None:
        (run.path / "status.json").write_text(content)
    assert run.status() == {"schema_version": 1, "state": "unknown"}
    run.set_status("running", models=3)
    assert run.status()["state"] == "running"
    assert run.status()["models"] == 3


def test_events_are_one_json_a_line_even_after_a_torn_one(run):
    run.log("started", chunks=np.int64(3), rate=float("nan"))
    with (run.path / "events.jsonl").open("a") as file:
        file.write('{"torn')
    run.log("next")
    lines = (run.path / "events.jsonl").read_text().splitlines()
    assert json.loads(lines[0]).items() >= {"event": "started", "chunks": 3, "rate": None}.items()
    assert json.loads(lines[-1])["event"] == "next"


@pytest.mark.parametrize("name", ["a", "A.b_c-9", "x" * 100])
def test_names_that_make_good_folders(name):
    assert load(BASE.replace("tiny", name)).name == name


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "-a", "a/b", "a b", "x" * 101, "ä", "a\n"])
def test_names_that_do_not(name):
    with pytest.raises(InvalidInput, match="name"):
        load(BASE.replace("tiny", json.dumps(name)))
