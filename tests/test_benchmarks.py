"""The benchmark's helpers, which are pure; nothing here is timed."""

import importlib
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import jax
import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"
NAMES = ("sp", "pytorch", "obvious jax")


class TinyWorkload(NamedTuple):
    name: str = "tiny"
    models: int = 2
    n_features: int = 4
    n_hidden: int = 2
    batch_size: int = 32
    feature_probability: tuple = (1.0, 0.25)
    importance: tuple = ((1.0, 0.9, 0.8, 0.7), (1.0, 1.0, 1.0, 1.0))


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark module the way the script does: from its own folder."""
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])

    def load_one(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load_one
    for name in set(sys.modules) - before:
        if str(FOLDER) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def entries_of(load, with_reference: bool = True) -> dict:
    report, floor, timing = load("report"), load("floor"), load("timing")
    names = [name for name in NAMES if with_reference or name != "pytorch"]
    times = {
        name: [timing.Timing(ms * factor, 0.5, 10) for factor in (1.0, 3.0, 2.0)]
        for name, ms in zip(names, (2.0, 30.0, 40.0), strict=False)
    }
    workload = TinyWorkload()
    return {"tiny": report.summarise(workload, times, floor.floor_of(workload, 1e9, 1e9, "none"))}


def quality_of(load, losses: dict) -> dict:
    report, quality = load("report"), load("quality")
    found = {
        name: quality.Quality(np.asarray(values), np.asarray(values), np.ones(len(values)))
        for name, values in losses.items()
    }
    return report.summarise_quality(found, models=3, steps=7)


def test_floor_is_words_then_products(load):
    floor = load("floor").floor_of(TinyWorkload(), words_rate=1e6, flop_rate=1e7, product="x")
    # 32 samples x 4 features x 2 models = 256 words: 0.256 ms at 1e6 a second
    assert floor.random_ms == pytest.approx(0.256)
    # 10 x 256 x 2 hidden = 5120 operations: 0.512 ms at 1e7 a second
    assert floor.product_ms == pytest.approx(0.512)
    assert floor.total_ms == pytest.approx(0.768)


def test_trial_product_fits_its_limit_and_has_a_model(load):
    floor = load("floor")
    assert floor.trial_models(TinyWorkload(), limit=2 * 4 * 4 * 32) == 2
    assert floor.trial_models(TinyWorkload(), limit=1) == 1


def test_timing_excludes_the_warm_up_call(load):
    ticks = iter([10.0, 10.4, 11.0])  # start, after one call, after two
    calls = []
    found = load("timing").time_calls(
        lambda: calls.append(1), 5, seconds=0.5, compile_seconds=2.0, clock=lambda: next(ticks)
    )
    assert len(calls) == 3
    assert found == (pytest.approx(100.0), 2.0, 10)  # 1 s for 2 calls of 5 steps


def test_entry_holds_best_median_and_ratios(load):
    entry = entries_of(load)["tiny"]
    assert entry["trainers"]["sp"]["best_ms"] == 2.0
    assert entry["trainers"]["sp"]["median_ms"] == 4.0
    assert entry["ratio_best"] == {"pytorch": 15.0, "obvious jax": 20.0}
    # 256 words and 5120 operations at 1e9 a second: 0.005376 ms
    assert entry["distance_to_floor"] == pytest.approx(2.0 / 0.005376)


def test_document_survives_json(load):
    report = load("report")
    entries = entries_of(load)
    entries["tiny"]["quality"] = quality_of(load, {name: [0.1, 0.2, 0.3] for name in NAMES})
    found = report.document(report.describe_machine(threads=2, pinned=True), entries)
    again = json.loads(json.dumps(found))
    assert again == found
    assert set(again) == {"schema", "machine", "workloads"}
    wanted = {"cpu", "cores", "threads", "python", "packages", "date", "xla_flags"}
    assert wanted <= set(again["machine"])
    assert {"jax", "jaxlib", "torch", "numpy"} <= set(again["machine"]["packages"])


def test_table_aligns_its_columns(load):
    lines = load("report").table(["name", "ms"], [["a", "1.5"], ["longer", "20"]]).splitlines()
    assert lines == ["name     ms", "-----------", "a       1.5", "longer   20"]


@pytest.mark.parametrize(
    ("value", "text"), [(123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.123")]
)
def test_numbers_have_three_digits(load, value, text):
    assert load("report").number(value) == text


@pytest.mark.parametrize("with_reference", [True, False])
def test_tables_print_with_and_without_the_reference(load, with_reference):
    report = load("report")
    names = [name for name in NAMES if with_reference or name != "pytorch"]
    entries = entries_of(load, with_reference)
    entries["tiny"]["quality"] = quality_of(load, {name: [0.1, 0.2, 0.3] for name in names})
    assert "2.00 (4.00)" in report.time_table(entries, names)
    assert "compile sp" in report.detail_table(entries, names)
    assert ("no reference" in report.quality_table(entries, names)) is not with_reference
    assert report.failed(entries) == []


@pytest.mark.parametrize(
    ("ours", "outcome"),
    [
        ([0.10, 0.20, 0.30], "pass"),
        ([0.102, 0.204, 0.306], "pass"),  # 2 % higher
        ([0.15, 0.30, 0.45], "FAIL"),  # half as much again, no spread
        ([0.05, 0.10, 0.15], "FAIL"),  # half: another problem
        ([0.20, 0.12, 0.30], "unclear"),  # ratios 2, 0.6, 1: chance explains it
        ([math.nan, 0.20, 0.30], "FAIL"),
        ([math.inf, 0.20, 0.30], "FAIL"),
        ([0.0, 0.20, 0.30], "FAIL"),
    ],
)
def test_gate(load, ours, outcome):
    assert load("quality").gate(ours, [0.10, 0.20, 0.30]).outcome == outcome


def test_a_diverged_trainer_still_gives_json(load):
    found = quality_of(load, {"sp": [math.nan, math.nan], "pytorch": [0.1, 0.2]})
    json.dumps(found, allow_nan=False)
    assert found["gate"]["outcome"] == "FAIL"
    entries = {"tiny": entries_of(load)["tiny"] | {"quality": found}}
    row = load("report").quality_table(entries, NAMES[:2]).splitlines()[-1]
    assert row.split()[-4:] == ["-", "+-", "-", "FAIL"]


def test_failed_gate_is_named(load):
    entries = entries_of(load)
    losses = {"sp": [0.2, 0.4], "pytorch": [0.1, 0.2]}
    entries["tiny"]["quality"] = quality_of(load, losses)
    assert load("report").failed(entries) == ["tiny"]


def test_zero_model_has_the_known_loss_and_perfect_model_none(load):
    quality = load("quality")
    workload = TinyWorkload(n_hidden=4)
    zero = quality.judge(workload, np.zeros((2, 4, 4)), np.full((2, 4), 0.0))
    # predicting 0 costs E x^2 = p/3 a feature: 3.4/3 for the first model; 4096 samples: 3 %
    assert zero.loss[0] == pytest.approx(3.4 / 3, rel=0.05)
    perfect = quality.judge(workload, np.stack([np.eye(4)] * 2), np.zeros((2, 4)))
    np.testing.assert_allclose(perfect.loss, 0.0, atol=1e-12)
    np.testing.assert_allclose(perfect.d_star, 1.0)
    # predicting the mean, p/2, is the null model
    mean = np.array([[0.5] * 4, [0.125] * 4])
    null = quality.judge(workload, np.zeros((2, 4, 4)), mean)
    np.testing.assert_allclose(null.normalised_loss, 1.0, rtol=0.1)


def test_selection_picks_or_interpolates(load):
    select = load("quality").select
    assert select(TinyWorkload(), 2) == TinyWorkload()
    assert select(TinyWorkload(), 1).feature_probability == (1.0,)
    three = select(TinyWorkload(), 3)
    np.testing.assert_allclose(three.feature_probability, (1.0, 0.5, 0.25))
    np.testing.assert_allclose(three.importance[1], (1.0, 0.95, 0.9, 0.85))


def test_obvious_jax_learns(load):
    function, arguments = load("obvious_jax").prepare(TinyWorkload(), steps=600)
    (params, _, _), losses = jax.jit(function)(*arguments)
    assert params["W"].shape == (2, 4, 2)
    assert params["b"].shape == (2, 4)
    assert (losses[:, -50:].mean(axis=1) < 0.8 * losses[:, :50].mean(axis=1)).all()


def test_missing_torch_is_a_sentence_and_the_rest_goes_on(load, monkeypatch):
    trainer, floor = load("torch_trainer"), load("floor")
    monkeypatch.setitem(sys.modules, "torch", None)  # makes the import fail
    with pytest.raises(trainer.TorchMissingError, match="package `torch`") as raised:
        trainer.load_torch()
    assert "--index-url" in str(raised.value)
    names = [name for name, _ in floor._products(TinyWorkload(), models=2)]
    assert names
    assert not any(name.startswith("torch") for name in names)


def test_torch_trainer_learns_where_there_is_torch(load):
    pytest.importorskip("torch")
    trainer, quality = load("torch_trainer"), load("quality")
    workload = TinyWorkload()
    before = quality.judge(workload, *trainer.train_to_end(workload, 1))
    after = quality.judge(workload, *trainer.train_to_end(workload, 300))
    assert (after.normalised_loss < 0.9 * before.normalised_loss).all()


def test_unknown_workload_is_refused_with_the_names(load, capsys):
    script = load("side_by_side")
    with pytest.raises(SystemExit) as stopped:
        script.choose("tiny,huge", {"tiny": TinyWorkload()})
    assert stopped.value.code == 2
    assert "no workload huge; there are tiny" in capsys.readouterr().err


def test_a_command_is_costed_and_a_failing_one_ends_the_benchmark(load):
    commands = load("commands")
    cost = commands.run(["--help"])
    assert cost.processor_seconds > 0
    assert cost.peak_mib > 10
    assert commands.table({"help": [cost]}).splitlines()[1].startswith("help")
    with pytest.raises(SystemExit, match="ended with 2"):
        commands.run(["sweep", "no-such-configuration"])


def test_floor_of_a_device_is_the_slower_of_products_and_memory(load):
    gpu = load("gpu")
    # 2 x 4 x 32 = 256 numbers of inputs, 10 x 2 operations each: 5120
    # four passes over them and six over 2 x (4 x 2 + 4) parameters, 4 bytes each: 4672
    slow_products = gpu.Peaks(flop=5120e3, flop_short=1e12, bytes=1e12)
    assert gpu.floor_ms(TinyWorkload(), slow_products) == (pytest.approx(1.0), "products")
    slow_memory = gpu.Peaks(flop=1e12, flop_short=1e12, bytes=4672e3)
    assert gpu.floor_ms(TinyWorkload(), slow_memory) == (pytest.approx(1.0), "memory")


def test_losses_are_off_by_the_largest_share(load):
    off_by = load("gpu").off_by
    reference = np.array([[1.0, 0.0], [4.0, 0.0]])
    assert off_by(reference, reference) == 0
    assert off_by(reference + np.array([[0.0, 0.0], [1.0, 0.0]]), reference) == 0.25
    assert off_by(reference + np.array([[0.0, 0.5], [1.0, 0.0]]), reference) == 0.5
    assert math.isnan(off_by(reference * np.nan, reference))


@pytest.mark.slow
def test_the_gpu_benchmark_runs_on_a_cpu_and_says_so(load, tmp_path, capsys):
    gpu, written, page = load("gpu"), tmp_path / "gpu.json", tmp_path / "gpu.md"
    names = ["intro", "phase x 10^6"]
    words = ["--small", "--workloads", ",".join(names), "--json", written, "--markdown", page]
    assert gpu.main([str(word) for word in words]) == 0
    found = json.loads(written.read_text())
    assert set(found) == {
        *("schema", "device", "peaks", "workloads", "threefry", "precision", "seconds")
    }
    assert list(found["workloads"]) == names
    for entry in found["workloads"].values():
        assert entry["cpu"]["equal"]
        assert entry["ratio_to_floor"] == pytest.approx(entry["ms_per_step"] / entry["floor_ms"])
        rate = entry["models"] / entry["ms_per_step"] * 1e3
        assert entry["model_steps_per_second"] == pytest.approx(rate)
    assert found["threefry"]["same_bits"]
    assert min(found["peaks"].values()) > 0
    assert {"platform", "device", "driver", "runtime", "packages"} <= set(found["device"])
    text = page.read_text()
    assert found["device"]["platform"] != "cpu" or "of a CPU, not of a GPU" in text
    assert text in capsys.readouterr().out


def test_losses_unlike_the_cpus_fail_the_gpu_benchmark(load, monkeypatch, capsys):
    gpu, right = load("gpu"), np.ones((3, 2))
    calls = iter([right, right * (1 + 1e-3), right])  # the CPU's, then the device's two
    monkeypatch.setattr(gpu, "losses", lambda *args: next(calls))
    held = gpu.compared(TinyWorkload())
    assert not held["equal"]
    assert held["max_off"] == pytest.approx(1e-3)


def test_compiling_for_cuda_says_what_is_missing(load, monkeypatch, tmp_path, capsys):
    script = load("compile_cuda")
    monkeypatch.setattr(script, "EXTRAS", ("no_such_plugin",))
    assert script.main([str(tmp_path / "any.txt")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'jax[cuda12]'" in line


def test_a_description_of_a_device_says_its_memory(load):
    script = load("compile_cuda")
    assert script.memory_of("gpu { device_memory_size: 1024 }") == 1024
    with pytest.raises(SystemExit, match="device_memory_size"):
        script.memory_of("gpu {}")


def test_what_would_be_compiled_for_cuda_has_shapes(load):
    script = load("compile_cuda")
    for spec in script.specs().values():
        with jax.enable_x64(spec.dtype == "float64"):
            found = {name: shapes for name, _, _, shapes in script.programs(spec, 7)}
        assert set(found) == {"start", "advance", "judge"}
        assert found["advance"][2].low.shape == (7,)
        assert found["advance"][5]["W"].shape == (26, 7, spec.n_features, spec.n_hidden)
