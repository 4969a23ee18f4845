"""What a run of the benchmark leaves: a table for people, a JSON document for programs."""

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from floor import Floor
from quality import TOLERANCE, Quality, gate
from timing import Timing

if TYPE_CHECKING:
    from superposition_cli.bench import Workload

SCHEMA = 1
OURS, REFERENCE = "sp", "pytorch"
PACKAGES = ("superposition-cli", "jax", "jaxlib", "optax", "torch", "numpy")


def version_of(package: str) -> str | None:
    """Return the installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cpu_model(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as the system gives it."""
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def vector_extensions(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Return which of AVX, AVX2 and AVX-512F the processor has, where the system tells."""
    words = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return [name for name in ("avx", "avx2", "avx512f") if name in words]


def describe_machine(threads: int, pinned: bool) -> dict[str, object]:
    """Return what the times depend on besides the programs."""
    return {
        "cpu": cpu_model(),
        "vector_extensions": vector_extensions(),
        "cores": os.cpu_count(),
        "threads": threads,
        "pinned": pinned,
        "system": platform.system(),
        "python": platform.python_version(),
        "packages": {package: version_of(package) for package in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def summarise_times(rounds: Sequence[Timing]) -> dict[str, object]:
    """Return best and median milliseconds per step over the rounds of one trainer."""
    times = [timing.ms_per_step for timing in rounds]
    return {
        "best_ms": min(times),
        "median_ms": median(times),
        "rounds_ms": times,
        "steps": [timing.steps for timing in rounds],
        "compile_seconds": rounds[0].compile_seconds,
    }


def summarise_quality(found: Mapping[str, Quality], models: int, steps: int) -> dict[str, object]:
    """Return every trainer's medians over models and the gate, None without the reference."""
    verdict = None
    if REFERENCE in found:
        losses = (found[name].normalised_loss for name in (OURS, REFERENCE))
        ratio, error, outcome = gate(*losses)
        verdict = {"ratio": finite(ratio), "standard_error": finite(error), "outcome": outcome}
        verdict["tolerance"] = TOLERANCE
    medians = {
        name: {field: finite(np.median(values)) for field, values in quality._asdict().items()}
        for name, quality in found.items()
    }
    return {"models": models, "steps": steps, "gate": verdict, "trainers": medians}


def summarise(
    workload: "Workload", times: Mapping[str, Sequence[Timing]], floor: Floor
) -> dict[str, object]:
    """Return one workload's entry of the document; the quality gate is added to it later."""
    trainers = {name: summarise_times(rounds) for name, rounds in times.items()}
    ours = trainers[OURS]
    others = {name: entry for name, entry in trainers.items() if name != OURS}
    return {
        "models": workload.models,
        "n_features": workload.n_features,
        "n_hidden": workload.n_hidden,
        "batch_size": workload.batch_size,
        "trainers": trainers,
        "ratio_best": {k: v["best_ms"] / ours["best_ms"] for k, v in others.items()},
        "ratio_median": {k: v["median_ms"] / ours["median_ms"] for k, v in others.items()},
        "floor": floor._asdict(),
        "distance_to_floor": ours["best_ms"] / floor.total_ms,
        "quality": None,
    }


def document(machine: Mapping[str, object], entries: Mapping[str, dict]) -> dict[str, object]:
    """Return the JSON document of one run."""
    return {"schema": SCHEMA, "machine": dict(machine), "workloads": dict(entries)}


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON cannot hold."""
    return float(value) if math.isfinite(value) else None


def text(value: float | None, form: str) -> str:
    """Format a value that may be missing."""
    return "-" if value is None else format(value, form)


def number(value: float | None, suffix: str = "") -> str:
    """Three significant digits without an exponent, or a dash for what was not measured."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}{suffix}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right, a rule under the header."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def draw(line: Sequence[str]) -> str:
        cells = [line[0].ljust(widths[0])]
        return "  ".join(cells + [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)])

    return "\n".join([draw(lines[0]), "-" * len(draw(lines[0])), *map(draw, lines[1:])])


def time_table(entries: Mapping[str, dict], names: Sequence[str]) -> str:
    """Best (median) milliseconds per step, ratios of the best, and the floor."""
    others = [name for name in names if name != OURS]
    header = ["workload", "K x n -> m, B", *[f"{name} ms" for name in names]]
    header += [f"{name} / {OURS}" for name in others]
    header += ["floor ms", f"{OURS} / floor"]
    return table(header, [_time_row(name, entry, names) for name, entry in entries.items()])


def _time_row(workload: str, entry: dict, names: Sequence[str]) -> list[str]:
    trainers = entry["trainers"]
    shape = f"{entry['models']} x {entry['n_features']} -> {entry['n_hidden']}"
    best = [f"{number(trainers[n]['best_ms'])} ({number(trainers[n]['median_ms'])})" for n in names]
    ratios = [number(entry["ratio_best"][name], "x") for name in names if name != OURS]
    floor = [number(entry["floor"]["total_ms"]), number(entry["distance_to_floor"], "x")]
    return [workload, f"{shape}, {entry['batch_size']}", *best, *ratios, *floor]


def quality_table(entries: Mapping[str, dict], names: Sequence[str]) -> str:
    """Median loss, normalised loss and D* of every trainer after so many steps; the verdict."""
    header = ["workload", "models", "steps", *[f"loss {name}" for name in names]]
    header += [f"L/L0 {name}" for name in names] + [f"D* {name}" for name in names]
    header += [f"{OURS} / {REFERENCE}", f"gate ({100 * TOLERANCE:.0f} %)"]
    judged = {name: entry["quality"] for name, entry in entries.items() if entry["quality"]}
    return table(header, [_quality_row(name, found, names) for name, found in judged.items()])


def _quality_row(workload: str, found: dict, names: Sequence[str]) -> list[str]:
    trainers = found["trainers"]
    fields = [("loss", ".3e"), ("normalised_loss", ".4f"), ("d_star", ".3f")]
    cells = [text(trainers[name][field], form) for field, form in fields for name in names]
    verdict = ["-", "no reference"]
    if found["gate"] is not None:
        ratio, error = (text(found["gate"][key], ".3f") for key in ("ratio", "standard_error"))
        verdict = [f"{ratio} +- {error}", found["gate"]["outcome"]]
    return [workload, str(found["models"]), str(found["steps"]), *cells, *verdict]


def failed(entries: Mapping[str, dict]) -> list[str]:
    """Return the workloads whose quality gate failed."""
    gates = {name: (entry["quality"] or {}).get("gate") for name, entry in entries.items()}
    return [name for name, gate in gates.items() if gate and gate["outcome"] == "FAIL"]


def detail_table(entries: Mapping[str, dict], names: Sequence[str]) -> str:
    """What each floor is made of, and the seconds each trainer compiled before it was timed."""
    compiled = [name for name in names if name != REFERENCE]
    header = ["workload", "random ms", "products ms", "G words/s", "GFLOP/s", "best product"]
    return table(
        header + [f"compile {name}" for name in compiled],
        [_detail_row(name, entry, compiled) for name, entry in entries.items()],
    )


def _detail_row(workload: str, entry: dict, compiled: Sequence[str]) -> list[str]:
    floor, trainers = entry["floor"], entry["trainers"]
    parts = [number(floor[key]) for key in ("random_ms", "product_ms")]
    rates = [number(floor[key] / 1e9) for key in ("words_per_second", "flop_per_second")]
    seconds = [number(trainers[name]["compile_seconds"], " s") for name in compiled]
    return [workload, *parts, *rates, floor["best_product"], *seconds]
