"""Compile the programs whole for a GPU that is not here: their memory, beside what is planned.

    python benchmarks/compile_cuda.py DESCRIPTION [--name h200] [--json FILE]

DESCRIPTION is a file with the compiler's description of a device (the text of a
`GpuTargetConfigProto`); JAX's CUDA extra must be installed, a GPU need not be there.
"""

import argparse
import importlib.util
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

EXTRAS = ("jax_cuda12_plugin", "jax_cuda13_plugin")
SNAPSHOTS = 25
MOST_MODELS = 1_000_000
METRICS = ("feature_dimensionality", "feature_norms", "dims_per_feature", "n_represented")


class Compiled(NamedTuple):
    """One program for K models, and its bytes on the device, arguments and results among them."""

    workload: str
    program: str
    models: int
    seconds: float
    bytes: int
    planned: int

    @property
    def share(self) -> float:
        """What it takes by what is planned; at most 1 if the plan holds."""
        return self.bytes / self.planned


def memory_of(description: str) -> int:
    """Return the bytes of memory that a description says the device has."""
    found = re.search(r"device_memory_size:\s*(\d+)", description)
    if found is None:
        raise SystemExit("the description has no device_memory_size")
    return int(found[1])


def specs() -> dict[str, Any]:
    """Return what is compiled: the standard workloads, and what is descended without samples."""
    from superposition_cli import bench

    sampled = {name: bench.spec_of(one, 10_000) for name, one in bench.WORKLOADS.items()}
    exact = replace(sampled["phase"], objective="population", steps=500)
    linear = replace(sampled["demo"], model="linear", objective="population", steps=500)
    five = replace(sampled["intro"], objective="population", optimizer="lbfgs", steps=300)
    return {
        **sampled,
        "phase population": exact,
        "linear population": linear,
        "intro L-BFGS float64": replace(five, dtype="float64"),
    }


def compile_all(description: str, name: str) -> Iterator[Compiled]:
    """Compile start, advance and judge of every workload, for as many models as are planned."""
    import jax
    from jax.experimental import topologies

    from superposition_cli.running import devices

    found = topologies.get_topology_desc(name, "cuda", target_config=description, topology="1x1x1")
    share = int(memory_of(description) * devices.ACCELERATOR_SHARE)
    machine = devices.Machine("gpu", name, 1, 1, share)
    place = jax.sharding.SingleDeviceSharding(found.devices[0])
    for workload, spec in specs().items():
        models = devices.chunk_models(machine, spec, MOST_MODELS, SNAPSHOTS)
        planned = models * devices.planned_bytes(machine, spec, SNAPSHOTS)
        with jax.enable_x64(spec.dtype == "float64"):
            for program, *lowering in programs(spec, models):
                begun = time.perf_counter()
                size = bytes_of(lowering, place)
                taken = time.perf_counter() - begun
                yield Compiled(workload, program, models, taken, size, planned)


def programs(spec: Any, models: int) -> Iterator[tuple]:
    """Yield each program's name, function, static arguments and the shapes of the others."""
    import jax
    import numpy as np

    from superposition_cli.running import devices
    from superposition_cli.toy import evaluate, rng, train
    from superposition_cli.toy.spec import any_knobs

    def rows(tree: Any, *shape: int) -> Any:
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((*shape, *leaf.shape), leaf.dtype), tree
        )

    knobs, keys = rows((any_knobs(spec), rng.key(0)), models)
    state = jax.eval_shape(partial(train.start, train.TOY, spec), knobs, keys)
    steps = jax.ShapeDtypeStruct((min(spec.steps, devices.least_steps(spec)),), np.int32)
    room = rows(state.params, SNAPSHOTS + 1)
    of_step = (steps, steps, knobs, keys, state, room)
    yield "start", train._start, (train.TOY, spec), (knobs, keys)
    yield "advance", train._advance, (train.TOY, spec), of_step
    yield "judge", evaluate.judge, (spec, METRICS), (knobs, keys, state.params)


def bytes_of(lowering: Sequence[Any], place: Any) -> int:
    """Compile one program for a device and return the bytes it takes there."""
    import jax

    from superposition_cli.toy import train

    function, static, arrays = lowering
    there = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), arrays
    )
    memory = train.lowered(function, static, *there).compile().memory_analysis()
    given = memory.argument_size_in_bytes + memory.output_size_in_bytes
    return given - memory.alias_size_in_bytes + memory.temp_size_in_bytes


def main(arguments: Sequence[str] | None = None) -> int:
    """Compile and print; return 1 where a program takes more than is planned, 2 without CUDA."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("description", type=Path, help="the text that describes the device")
    parser.add_argument("--name", default="gpu", help="what to call it")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    options = parser.parse_args(arguments)
    if not any(map(importlib.util.find_spec, EXTRAS)):
        print("JAX has no CUDA here: pip install 'jax[cuda12]'", file=sys.stderr)
        return 2
    from report import number, table

    found = []
    for one in compile_all(options.description.read_text(encoding="utf-8"), options.name):
        found.append(one)
        print(f"{one.workload} {one.program}: {one.seconds:.1f} s", file=sys.stderr)
    header = ["workload", "program", "models", "compile s", "MiB", "MiB planned", "share"]
    print(
        table(
            header,
            [
                [
                    one.workload,
                    one.program,
                    f"{one.models:,}",
                    number(one.seconds),
                    f"{one.bytes / 2**20:,.0f}",
                    f"{one.planned / 2**20:,.0f}",
                    number(one.share),
                ]
                for one in found
            ],
        )
    )
    if options.json is not None:
        rows = [{**one._asdict(), "share": one.share} for one in found]
        text = json.dumps({"device": options.name, "programs": rows}, indent=2)
        options.json.write_text(text + "\n", encoding="utf-8")
    return int(any(one.share > 1 for one in found))


if __name__ == "__main__":
    sys.exit(main())
