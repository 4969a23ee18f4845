"""What one GPU does: steps, their floor, random numbers, precisions, and the CPU's own answers.

    python benchmarks/gpu.py --json FILE --markdown FILE
    python benchmarks/gpu.py --small

Under ten minutes on a GPU. Everything is measured in one process on one device: the ratios are
to peaks of the same run. It runs on a CPU too, and then says that its numbers are of a CPU.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from floor import FLOP_PER_WORD
from quality import select
from report import describe_machine, finite, number, table, text
from timing import fastest

SCHEMA = 1
NUMBER = 4  # bytes in float32
PASSES = 4  # over [n, B] at least: the input and the gradient of the answer, written and read
STATE_PASSES = 6  # over parameters: they and Adam's two moments, read and written
COPY = 2  # a copy reads and writes
STEPS = 10  # that CPU and GPU both take
# A loss is a mean of squares, each off by about (n + m) roundings of 2**-24 in full precision:
# 3e-5 for 400 + 30; Adam's steps carry that on. TF32 rounds to 2**-11: 5e-4 in every product.
TOLERANCE = 2e-4
COMPARED = 4  # models of a workload, by both
PLAN = {
    "intro": ("intro", 10),
    "small": ("small", 100),
    "demo": ("demo", 20),
    "geometry": ("geometry", 20),
    "geometry x 100": ("geometry", 100),
    "geometry x 1000": ("geometry", 1_000),
    "phase": ("phase", 10_000),
    "phase x 10^6": ("phase", 1_000_000),
}


class Peaks(NamedTuple):
    """The best rates found on the device, in operations and bytes per second."""

    flop: float  # products of float32
    flop_short: float  # at the device's default precision: TF32 on a GPU that has it
    bytes: float


class Sizes(NamedTuple):
    """How much is measured: all of it, or just enough to see that it works."""

    models: int  # at most so many
    batch: int
    product: int  # rows of the big matrices
    copied: int  # numbers
    seconds: float
    steps: int | None  # of a stretch; None for as many as fill the seconds


FULL = Sizes(1_000_000, 1024, 8192, 1 << 28, 3.0, None)
SMALL = Sizes(3, 32, 128, 1 << 16, 0.01, 2)


def ready(call: Callable[[], Any], seconds: float) -> float:
    """Seconds of the fastest of several calls, each finished on the device."""
    import jax

    return fastest(lambda: jax.block_until_ready(call()), seconds)


def peaks(sizes: Sizes) -> Peaks:
    """Measure a big product in both precisions and a big copy."""
    import jax
    import jax.numpy as jnp

    n = sizes.product
    A = jax.random.normal(jax.random.key(0), (n, n))
    rates = []
    for precision in ("highest", "default"):
        product = jax.jit(lambda A, precision=precision: jnp.matmul(A, A, precision=precision))
        rates.append(2 * n**3 / ready(lambda product=product: product(A), sizes.seconds / 3))
    copied = jax.jit(lambda x: x + 1)
    numbers = jnp.zeros(sizes.copied, jnp.float32)
    taken = ready(lambda: copied(numbers), sizes.seconds / 3)
    return Peaks(*rates, COPY * NUMBER * sizes.copied / taken)


def floor_ms(workload: Any, best: Peaks) -> tuple[float, str]:
    """Return the milliseconds that a step takes at least, and what bounds it.

    max(FLOP / peak, bytes / bandwidth): five products, and `PASSES` over [n, B] and
    `STATE_PASSES` over the parameters, of every model. A bound for a program whose products are
    calls of a library; one that keeps a batch on the chip moves fewer bytes.
    """
    n, m, models = workload.n_features, workload.n_hidden, workload.models
    words = n * workload.batch_size * models
    flop = FLOP_PER_WORD * words * m
    moved = NUMBER * (PASSES * words + STATE_PASSES * models * (n * m + n))
    bounds = {"products": flop / best.flop, "memory": moved / best.bytes}
    slowest = max(bounds, key=lambda name: bounds[name])
    return 1e3 * bounds[slowest], slowest


def workloads(sizes: Sizes, names: Iterable[str]) -> dict[str, Any]:
    """Return the named workloads of `PLAN`, no larger than the sizes say."""
    from superposition_cli.bench import WORKLOADS

    found = {}
    for name in names:
        base, models = PLAN[name]
        workload = select(WORKLOADS[base], min(models, sizes.models))
        arrays = {field: np.asarray(getattr(workload, field)) for field in ARRAYS}
        found[name] = workload._replace(**arrays, batch_size=sizes.batch)
    return found


ARRAYS = ("feature_probability", "importance")


def timed(workload: Any, best: Peaks, sizes: Sizes) -> dict[str, Any]:
    """Time the steps of a workload as a sweep would take them, and hold them to the floor."""
    from superposition_cli import bench

    taken = bench.measure(workload, sizes.steps, sizes.seconds)
    least, bound = floor_ms(workload, best)
    return {
        "models": workload.models,
        "n_features": workload.n_features,
        "n_hidden": workload.n_hidden,
        "batch_size": workload.batch_size,
        "ms_per_step": taken.ms_per_step,
        "model_steps_per_second": 1e3 * workload.models / taken.ms_per_step,
        "compile_seconds": taken.compile_seconds,
        "floor_ms": least,
        "bound_by": bound,
        "ratio_to_floor": taken.ms_per_step / least,
    }


def losses(workload: Any, device: Any, precision: str = "highest") -> np.ndarray:
    """Return the losses [T, K] of the first steps of a workload's models on a device."""
    import jax

    from superposition_cli import bench
    from superposition_cli.toy import train

    spec = bench.spec_of(workload, STEPS)
    with jax.default_device(device):
        keys, knobs, state = bench._chunk(workload, spec, np.arange(workload.models))
        numbers, none = np.arange(STEPS, dtype=np.int32), np.zeros(STEPS, np.int32)
        given = (numbers, none, knobs, keys, state, train.empty_snapshots(state.params, ()))
        with jax.default_matmul_precision(precision):
            program = train._advance.lower(train.TOY, spec, *given).compile()
        return np.asarray(program(*given).loss)


def compared(workload: Any) -> dict[str, Any]:
    """Hold a few models' losses on this device against the CPU's, in both precisions."""
    import jax

    few = select(workload, min(COMPARED, workload.models))
    few = few._replace(**{name: np.asarray(getattr(few, name)) for name in ARRAYS})
    here, cpu = jax.devices()[0], jax.devices("cpu")[0]
    reference = losses(few, cpu)
    off = {
        name: off_by(losses(few, here, precision), reference)
        for name, precision in (("float32", "highest"), ("short", "default"))
    }
    return {
        "steps": STEPS,
        "models": few.models,
        "max_off": finite(off["float32"]),
        "max_off_short": finite(off["short"]),
        "tolerance": TOLERANCE,
        "equal": off["float32"] <= TOLERANCE,
    }


def off_by(found: np.ndarray, reference: np.ndarray) -> float:
    """Return the largest difference of losses [T, K] by each model's largest; NaN if any is."""
    largest = reference.max(axis=0)
    return float(np.max(np.abs(found - reference) / np.where(largest > 0, largest, 1)))


def precisions(workload: Any, seconds: float) -> dict[str, float]:
    """Time one step of loss and gradient of all models in float32 and at default precision."""
    import jax

    from superposition_cli import bench
    from superposition_cli.toy import train

    spec = bench.spec_of(workload, STEPS)
    keys, knobs, state = bench._chunk(workload, spec, np.arange(workload.models))
    loss = jax.vmap(jax.value_and_grad(lambda p, k, key: train.TOY.objective(spec, k, key, 0, p)))
    found = {}
    for name, precision in (("float32", "highest"), ("short", "default")):
        with jax.default_matmul_precision(precision):
            program = jax.jit(loss).lower(state.params, knobs, keys).compile()
        call = lambda program=program: program(state.params, knobs, keys)  # noqa: E731
        found[f"{name}_ms"] = 1e3 * ready(call, seconds / 3)
    return {**found, "models": workload.models, "gain": found["float32_ms"] / found["short_ms"]}


def random_numbers(sizes: Sizes) -> dict[str, Any]:
    """Time our Threefry and JAX's own, feeding a sum, and compare their bits."""
    import jax
    import jax.numpy as jnp

    from superposition_cli.toy import rng

    shape, found, bits = (sizes.copied // 1024, 1024), {}, []
    for name, key in (("ours", rng.key(0)), ("jax", jax.random.key(0, impl="threefry2x32"))):
        drawn = jax.jit(lambda key: jnp.sum(jax.random.bits(key, shape), axis=1))
        taken = ready(lambda drawn=drawn, key=key: drawn(key), sizes.seconds / 3)
        found[f"{name}_per_second"] = sizes.copied / taken
        bits.append(np.asarray(drawn(key)))
    return {**found, "same_bits": bool((bits[0] == bits[1]).all())}


def driver() -> str | None:
    """Return the version of the GPU's driver, where its tool tells."""
    if (tool := shutil.which("nvidia-smi")) is None:
        return None
    asked = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip().partition("\n")[0] or None


def device() -> dict[str, Any]:
    """Return what the numbers are of."""
    import jax

    here = jax.devices()[0]
    return {
        "platform": here.platform,
        "device": here.device_kind,
        "driver": driver(),
        "runtime": here.client.platform_version.replace("\n", " "),
        **describe_machine(1, False),
    }


def measure(sizes: Sizes, names: Sequence[str]) -> dict[str, Any]:
    """Measure everything and return the document."""
    begun, best = time.perf_counter(), peaks(sizes)
    entries = {}
    for name, workload in workloads(sizes, names).items():
        entries[name] = {**timed(workload, best, sizes), "cpu": compared(workload)}
        shown = f"{name}: {number(entries[name]['ms_per_step'])} ms"
        print(f"{shown}, {time.perf_counter() - begun:.0f} s in all", file=sys.stderr)
    wide = workloads(sizes, ["geometry x 100"])["geometry x 100"]
    return {
        "schema": SCHEMA,
        "device": device(),
        "peaks": best._asdict(),
        "workloads": entries,
        "threefry": random_numbers(sizes),
        "precision": precisions(wide, sizes.seconds),
        "seconds": time.perf_counter() - begun,
    }


def markdown(found: dict[str, Any]) -> str:
    """Return the document as a Markdown page."""
    where, best, drawn, short = (
        found[name] for name in ("device", "peaks", "threefry", "precision")
    )
    versions = ", ".join(f"{name} {number}" for name, number in where["packages"].items() if number)
    lines = [f"# {where['device']}", ""]
    if where["platform"] == "cpu":
        lines += ["**These numbers are of a CPU, not of a GPU.**", ""]
    lines += [
        f"Driver {where['driver'] or 'none'}; {where['runtime']}; {versions}; {where['date']}.",
        "",
        f"Peaks: {best['flop'] / 1e12:.3g} TFLOP/s in float32, {best['flop_short'] / 1e12:.3g} at "
        f"default precision, {best['bytes'] / 1e9:.4g} GB/s.",
        "",
        "```text",
        table(HEADER, [_row(name, entry) for name, entry in found["workloads"].items()]),
        "```",
        "",
        f"`off`: largest relative difference of a loss from the CPU's in {STEPS} steps, at most "
        f"{TOLERANCE:g}; `off short`: the same at default precision.",
        "",
        f"Threefry: {drawn['ours_per_second'] / 1e9:.3g} G numbers a second, JAX's own "
        f"{drawn['jax_per_second'] / 1e9:.3g} G, bits {'equal' if drawn['same_bits'] else 'DIFFER'}"
        f". Loss and gradient of {short['models']} models of geometry: "
        f"{number(short['float32_ms'])} ms in float32, {number(short['short_ms'])} ms at default "
        "precision.",
    ]
    return "\n".join(lines) + "\n"


HEADER = (
    *("workload", "K x n -> m, B", "ms/step", "model steps/s", "floor ms", "bound by"),
    *("/ floor", "off", "off short", "equal"),
)


def _row(name: str, entry: dict[str, Any]) -> list[str]:
    """One workload's row of the table."""
    held = entry["cpu"]
    shape = f"{entry['models']:,} x {entry['n_features']} -> {entry['n_hidden']}"
    return [
        name,
        f"{shape}, {entry['batch_size']}",
        number(entry["ms_per_step"]),
        f"{entry['model_steps_per_second']:,.0f}",
        f"{entry['floor_ms']:.3g}",
        entry["bound_by"],
        number(entry["ratio_to_floor"]),
        text(held["max_off"], ".1e"),
        text(held["max_off_short"], ".1e"),
        "yes" if held["equal"] else "NO",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; return 1 where the device's losses are not the CPU's."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run?")
    parser.add_argument("--workloads", help=f"some of {', '.join(PLAN)}, by commas")
    parser.add_argument("--json", type=Path, help="write everything here")
    parser.add_argument("--markdown", type=Path, help="write the table here")
    options = parser.parse_args(arguments)
    names = options.workloads.split(",") if options.workloads else list(PLAN)
    if unknown := [name for name in names if name not in PLAN]:
        parser.error(f"no workload {', '.join(unknown)}; there are {', '.join(PLAN)}")
    found = measure(SMALL if options.small else FULL, names)
    page = markdown(found)
    print(page)
    if options.json is not None:
        written = json.dumps(found, indent=2, allow_nan=False)
        options.json.write_text(written + "\n", encoding="utf-8")
    if options.markdown is not None:
        options.markdown.write_text(page, encoding="utf-8")
    held = all(entry["cpu"]["equal"] for entry in found["workloads"].values())
    return int(not (held and found["threefry"]["same_bits"]))


if __name__ == "__main__":
    sys.exit(main())
