"""Training to the end, in one process: the folder, resuming, and independence of neighbours."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import BASE, CHUNKS_OF_TWO, ONE_CHUNK, TINY, after, opened, swept, table, trained
from safetensors import safe_open

from superposition_cli import config
from superposition_cli.running import devices, launch, sweep
from superposition_cli.running.engines.local import local
from superposition_cli.running.sweep import Interrupted

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The tiny sweep in three chunks, never interrupted."""
    return trained(tmp_path_factory.mktemp("sweep") / "whole", machine=CHUNKS_OF_TWO)


def begun(folder, **options):
    return opened(folder, machine=CHUNKS_OF_TWO, **options)


def test_the_folder_holds_what_the_layout_says(whole):
    path = whole.run.path
    names = {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}
    parts = ("weights.safetensors", "history.safetensors", "metrics.safetensors", "done.json")
    chunks = {f"chunks/0000{number}/{part}" for number in range(3) for part in parts}
    top = "run.json config.yaml config.resolved.yaml env.json status.json events.jsonl log.txt"
    assert names - {".lock"} == chunks | set(top.split()) | {
        f"{t}.{k}" for t in ("summary", "cells") for k in ("csv", "parquet")
    }
    assert (path / "config.yaml").read_text() == TINY
    status = json.loads((path / "status.json").read_text())
    assert status["state"] == "complete"
    assert (status["models"], status["diverged"]) == (6, 0)
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["started", *["committed"] * 3, "complete"]


def test_run_json_says_what_the_run_is(whole):
    about = json.loads((whole.run.path / "run.json").read_text())
    assert (about["name"], about["cells"], about["restarts"], about["models"]) == ("tiny", 3, 2, 6)
    assert about["schema_version"] == 1
    assert about["chunks"] == 3
    assert about["axes"] == [{"names": ["data.feature_probability"], "length": 3}]
    assert about["groups"][0]["chunk_models"] == 2
    assert about["groups"][0]["spec"]["n_features"] == 5


def test_chunks_hold_weights_history_and_metrics_of_their_models(whole):
    shapes = {
        part: {name: array.shape for name, array in whole.run.read(0, part).items()}
        for part in ("weights", "history", "metrics")
    }
    who = {"model": (2,)}
    assert shapes["weights"] == {"W": (2, 5, 2), "b": (2, 5), **who}
    kept = len(whole.run.read(0, "history")["loss_step"])
    snapshots = {"snapshot_W": (2, 3, 5, 2), "snapshot_b": (2, 3, 5), "snapshot_step": (3,)}
    assert shapes["history"] == {"loss": (2, kept), "loss_step": (kept,), **snapshots, **who}
    losses = ("loss", "loss_error", "null_loss", "loss_normalised")
    numbers = (*losses, "n_represented", "dims_per_feature", "finite_steps", "converged")
    assert shapes["metrics"] == {**dict.fromkeys(numbers, (2,)), "feature_norms": (2, 5), **who}


def test_every_array_names_its_axes_and_is_as_long_as_they_are(whole):
    for part in ("weights", "history", "metrics"):
        file = whole.run.chunk_folder(1) / f"{part}.safetensors"
        lengths, arrays = {}, whole.run.read(1, part)
        with safe_open(file, "numpy") as opened_file:
            about = opened_file.metadata()
        assert set(about) == {"schema_version", *arrays}
        for name, array in arrays.items():
            axes = about[name].split()
            assert len(axes) == array.ndim, name
            for axis, length in zip(axes, array.shape, strict=True):
                assert lengths.setdefault(axis, length) == length, (name, axis)
        assert arrays["model"].tolist() == [2, 3]


def test_the_history_begins_with_the_first_step_and_ends_with_the_last(whole):
    history = whole.run.read(2, "history")
    steps = history["loss_step"]
    assert (steps[0], steps[-1]) == (0, 59)
    assert len(steps) <= 200
    assert (np.diff(steps) > 0).all()
    assert np.isfinite(history["loss"]).all()
    assert history["snapshot_step"][0] == 0
    final, norms = whole.weights()[4:], whole.run.read(2, "metrics")["feature_norms"]
    np.testing.assert_allclose(np.linalg.norm(final, axis=-1), norms, rtol=1e-5)
    assert not np.allclose(history["snapshot_W"][:, 0], final)


def test_the_bytes_of_a_configuration_are_kept(tmp_path):
    text = "# é\r\n" + BASE.replace("\n", "\r\n")
    source = tmp_path / "x.yaml"
    source.write_bytes(text.encode())
    experiment = config.load(source)
    run, _ = launch.open_run(experiment, source, tmp_path / "x", ONE_CHUNK, 10, False)
    assert (run.path / "config.yaml").read_bytes() == text.encode()
    assert config.load(run.path / "config.resolved.yaml") == config.load(source)


def test_a_finished_run_is_left_alone(tmp_path):
    first = trained(tmp_path / "run", machine=CHUNKS_OF_TWO)
    files = [*(first.run.path / "chunks").rglob("*")]
    before = {file: file.stat().st_mtime_ns for file in files}
    summary = (first.run.path / "summary.csv").read_bytes()
    assert begun(tmp_path / "run").train() == []
    assert {file: file.stat().st_mtime_ns for file in files} == before
    assert (first.run.path / "summary.csv").read_bytes() == summary
    assert first.run.status()["state"] == "complete"


@pytest.mark.parametrize("looks", [0, 1, 2, 4, 8])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, whole, looks):
    with pytest.raises(Interrupted, match="the same command goes on"):
        begun(tmp_path / "run").train(after(looks))
    stopped = begun(tmp_path / "run")
    assert stopped.run.status()["state"] == "stopped"
    done, step = divmod(looks, 3)
    assert [stopped.run.is_committed(number) for number in range(3)] == [n < done for n in range(3)]
    assert stopped.run.load_partial(done)[0] == step * 20
    news = stopped.train()
    assert sum(one.model_steps for one in news) == (3 - done) * 2 * 60
    assert stopped.sums == whole.sums
    assert not (stopped.run.path / "partial").exists()


def test_one_segment_at_a_time_leads_to_the_same_bits(tmp_path, whole):
    stops = 0
    while True:
        try:
            begun(tmp_path / "run").train(after(1))
            break
        except Interrupted:
            stops += 1
    assert stops == 8  # nine segments
    assert begun(tmp_path / "run").sums == whole.sums


def test_the_length_of_segments_changes_no_number(tmp_path, whole):
    other = opened(tmp_path / "run", machine=CHUNKS_OF_TWO, segment=23)
    other.train()
    assert (other.weights() == whole.weights()).all()
    for part in ("history", "metrics"):
        mine, theirs = other.run.read(1, part), whole.run.read(1, part)
        for name in theirs:
            np.testing.assert_array_equal(mine[name], theirs[name])


def test_the_state_kept_now_and_then_survives_a_crash(tmp_path, whole, monkeypatch):
    def crash(work, carry):
        if (work.chunk.number, carry.step) == (1, 40):
            raise SystemError("power cut")
        return advance(work, carry)

    advance = sweep._advance
    monkeypatch.setattr(sweep, "_advance", crash)
    monkeypatch.setattr(sweep, "SAVE_EVERY_SECONDS", 0)
    with pytest.raises(SystemError, match="power cut"):
        begun(tmp_path / "run").train()
    monkeypatch.undo()
    again = begun(tmp_path / "run")
    assert again.run.load_partial(1)[0] == 40
    again.train()
    assert again.sums == whole.sums


@pytest.mark.parametrize("part", ["done.json", "weights.safetensors", "metrics.safetensors"])
@pytest.mark.parametrize("harm", ["deleted", "truncated", "flipped"])
def test_a_damaged_chunk_is_set_aside_and_trained_again(tmp_path, whole, part, harm):
    trained(tmp_path / "run", machine=CHUNKS_OF_TWO)
    again = begun(tmp_path / "run")
    file = again.run.path / "chunks" / "00001" / part
    content = file.read_bytes()
    damaged = {"truncated": content[:-9], "flipped": b"!" + content[1:]}
    file.unlink() if harm == "deleted" else file.write_bytes(damaged[harm])
    again.train()
    (aside,) = (again.run.path / "quarantine").iterdir()
    assert aside.name.startswith("00001-")
    assert again.sums == whole.sums
    assert "quarantined" in (again.run.path / "events.jsonl").read_text()


def test_a_chunk_that_vanished_is_trained_again(tmp_path, whole):
    again = trained(tmp_path / "run", machine=CHUNKS_OF_TWO)
    again.run.chunk_folder(1).rename(tmp_path / "gone")
    begun(tmp_path / "run").train()
    assert again.sums == whole.sums


def test_chunks_cut_at_creation_are_kept_when_the_machine_changes(tmp_path):
    begun(tmp_path / "run")
    again = opened(tmp_path / "run", machine=ONE_CHUNK)
    assert [chunk.size for chunk in again.plan.chunks] == [2, 2, 2]


def test_a_damaged_partial_state_only_costs_time(tmp_path, whole):
    with pytest.raises(Interrupted):
        begun(tmp_path / "run").train(after(2))
    again = begun(tmp_path / "run")
    (file,) = (again.run.path / "partial").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-5])
    again.train()
    assert again.sums == whole.sums


def test_a_state_of_another_shape_is_refused_and_not_used(tmp_path, whole):
    again = begun(tmp_path / "run")
    again.run.save_partial(0, 20, {"history.loss": np.zeros((2, 3))})
    again.train()
    (journal,) = (again.run.path / "events").iterdir()
    assert "partial_refused" in journal.read_text()
    assert again.sums == whole.sums


@pytest.mark.parametrize(("cache", "size"), [(1, 1), (17_000, 3)])
def test_a_model_alone_equals_the_same_cell_of_a_sweep_however_chunked(
    tmp_path, monkeypatch, cache, size
):
    monkeypatch.setattr(devices, "CACHE_BYTES", cache)
    machine = devices.this_machine()._replace(workers=1)
    many = trained(tmp_path / "run", machine=machine)
    assert {chunk.size for chunk in many.plan.chunks} == {size}
    one = "data.feature_probability=0.3", "train.restarts=1"
    alone = trained(tmp_path / "alone", BASE, *one, machine=machine).weights()
    np.testing.assert_allclose(many.weights()[2:3], alone, **CLOSE)


def test_more_cells_change_no_number_of_the_others(tmp_path, whole):
    text = swept("seed: [5, 0], data.feature_probability: [0.7, 0.05, 0.3, 0.2, 1.0]")
    large = trained(tmp_path / "run", text)
    rows = table(large.run.path / "summary.csv")
    for mine in table(whole.run.path / "summary.csv"):
        keys = ("seed", "feature_probability", "restart")
        (row,) = (row for row in rows if all(row[key] == mine[key] for key in keys))
        for name in ("loss", "null_loss", "dims_per_feature"):
            assert float(row[name] or 0) == pytest.approx(float(mine[name] or 0), rel=1e-4)
        theirs = large.weights()[int(row["model"])]
        np.testing.assert_allclose(theirs, whole.weights()[int(mine["model"])], **CLOSE)


def test_restarts_and_cells_differ_from_each_other(whole):
    flat = whole.weights().reshape(6, -1)
    apart = np.abs(flat[:, None] - flat[None]).max(-1)
    assert (apart[~np.eye(6, dtype=bool)] > 1e-2).all()


def test_a_diverging_cell_leaves_its_neighbours_alone(tmp_path):
    rates = "train.learning_rate: [{}]"
    sound = trained(tmp_path / "sound", swept(rates.format("1.0e-3, 1.0e-2")))
    mixed = trained(tmp_path / "mixed", swept(rates.format("1.0e-3, 1.0e+38, 1.0e-2")))
    np.testing.assert_allclose(mixed.weights()[[0, 1, 4, 5]], sound.weights(), **CLOSE)
    rows = table(mixed.run.path / "summary.csv")
    assert [row["status"] for row in rows] == ["ok"] * 2 + ["diverged"] * 2 + ["ok"] * 2
    assert [row["diverged_step"] for row in rows] == ["", "", "1", "1", "", ""]
    assert mixed.run.status()["diverged"] == 2
    assert {row["loss"] for row in rows[2:4]} == {""}
    assert {row["selected"] for row in rows[2:4]} == {"false"}


def test_double_precision_is_double_all_the_way(tmp_path, whole):
    double = trained(tmp_path / "run", TINY, "train.dtype=float64", machine=CHUNKS_OF_TWO)
    assert double.run.read(0, "weights")["W"].dtype == np.float64
    assert double.run.read(0, "metrics")["loss"].dtype == np.float64
    assert len(table(double.run.path / "summary.csv")) == 6
    with pytest.raises(Interrupted):
        opened(tmp_path / "cut", TINY, "train.dtype=float64", machine=CHUNKS_OF_TWO).train(after(1))
    again = trained(tmp_path / "cut", TINY, "train.dtype=float64", machine=CHUNKS_OF_TWO)
    assert again.sums == double.sums


@pytest.mark.parametrize("workers", [1, 3])
def test_a_failing_worker_is_heard_and_finished_chunks_stay(tmp_path, whole, monkeypatch, workers):
    def fail(work, carry):
        if work.chunk.number == 1:
            raise ArithmeticError("chunk 1 is cursed")
        return advance(work, carry)

    advance = sweep._advance
    monkeypatch.setattr(sweep, "_advance", fail)
    run = begun(tmp_path / "run")
    with pytest.raises(ArithmeticError, match="chunk 1 is cursed"):
        run.train(workers=workers)
    assert run.run.status()["state"] == "failed"
    assert "chunk 1 is cursed" in (run.run.path / "events.jsonl").read_text()
    assert not run.run.is_committed(1)
    assert workers > 1 or run.run.is_committed(0)
    monkeypatch.undo()
    begun(tmp_path / "run").train(workers=workers)
    assert run.sums == whole.sums


def test_a_failure_stops_the_other_workers_and_takes_no_further_chunk(monkeypatch):
    taken, stopped = [], []

    def work(path, chunk, report, halted):
        taken.append(chunk)
        if chunk == 0:
            raise LookupError("chunk 0")
        deadline = time.monotonic() + 10
        while not halted() and time.monotonic() < deadline:
            time.sleep(0.001)
        stopped.append(time.monotonic() < deadline)

    monkeypatch.setattr(sweep, "run_chunk", work)
    with pytest.raises(LookupError, match="chunk 0"):
        list(local(Path("run"), [1, 0, 2, 3], 2, lambda: False))
    assert taken == [1, 0]
    assert stopped == [True]


def test_several_workers_give_the_numbers_of_one(tmp_path, whole):
    many = begun(tmp_path / "run")
    news = many.train(workers=3)
    assert many.sums == whole.sums
    assert sum(one.model_steps for one in news) == 6 * 60
    assert sorted(one.chunk for one in news if one.finished) == [0, 1, 2]


def test_no_snapshots_and_one_step_work(tmp_path):
    run = trained(tmp_path / "run", BASE, "train.snapshots=0", "train.steps=1").run
    history = run.read(0, "history")
    assert history["snapshot_W"].shape == (2, 0, 5, 2)
    assert history["loss_step"].tolist() == [0]
    assert Path(run.path / "cells.csv").is_file()
