"""Time this project's trainer beside the programs people write first, on one machine.

python benchmarks/side_by_side.py [--workloads intro,small] [--json FILE] [--seconds S]
                                  [--rounds R] [--quality-steps N] [--threads N]

Exit codes: 0 done, 1 the quality gate failed, 2 a wrong argument.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import quality
from timing import Timing

if TYPE_CHECKING:
    from superposition_cli.bench import Workload


class Trainer(NamedTuple):
    """One column of the table."""

    name: str
    timer: Callable[["Workload"], Callable[[float], Timing]]
    train_to_end: Callable[["Workload", int], tuple[Any, Any]]


def limit_threads(threads: int) -> bool:
    """Keep this process on so many processors, which JAX then takes as its thread count.

    Must run before JAX starts. Returns False where the system has no such call.
    """
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if not hasattr(os, "sched_setaffinity"):
        return False
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[:threads])
    return True


def load_trainers(threads: int) -> tuple[Trainer, ...]:
    """Return the columns; PyTorch's is left out, with a sentence, where it is missing."""
    from superposition_cli import bench  # first: it may set flags that JAX reads once

    import obvious_jax  # isort: skip
    import torch_trainer  # isort: skip

    def time_ours(workload: "Workload") -> Callable[[float], Timing]:
        return lambda seconds: Timing(*bench.measure(workload, seconds=seconds))

    columns = [Trainer("sp", time_ours, bench.train_to_end)]
    columns += [Trainer(m.NAME, m.timer, m.train_to_end) for m in (torch_trainer, obvious_jax)]
    try:
        torch_trainer.load_torch(threads)
    except torch_trainer.TorchMissingError as missing:
        print(missing, file=sys.stderr)
        columns = [column for column in columns if column.name != torch_trainer.NAME]
    return tuple(columns)


def interleave(
    trainers: Sequence[Trainer], workload: "Workload", rounds: int, seconds: float
) -> dict[str, list[Timing]]:
    """Time the trainers in turn, round after round, so that drift falls on all of them."""
    timers = {trainer.name: trainer.timer(workload) for trainer in trainers}
    times: dict[str, list[Timing]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer(seconds))
    return times


def check_quality(
    trainers: Sequence[Trainer], workload: "Workload", steps: int | None
) -> dict[str, object]:
    """Train a selection of models with every trainer and judge what they reached."""
    import report

    models, planned = quality.PLAN.get(workload.name, quality.DEFAULT_PLAN)
    steps = planned if steps is None else steps
    selection = quality.select(workload, models)
    found = {t.name: quality.judge(selection, *t.train_to_end(selection, steps)) for t in trainers}
    return report.summarise_quality(found, selection.models, steps)


def run(trainers: Sequence[Trainer], chosen: Sequence["Workload"], options: Any) -> dict[str, dict]:
    """Measure every workload; return the document's entries by name."""
    import floor
    import report

    floors = floor.measure(chosen)
    entries = {}
    for workload in chosen:
        print(f"timing {workload.name} ...", file=sys.stderr)
        times = interleave(trainers, workload, options.rounds, options.seconds)
        entries[workload.name] = report.summarise(workload, times, floors[workload.name])
    if options.quality_steps != 0:
        for workload in chosen:
            print(f"quality gate of {workload.name} ...", file=sys.stderr)
            found = check_quality(trainers, workload, options.quality_steps)
            entries[workload.name]["quality"] = found
    return entries


def show(entries: Mapping[str, dict], names: Sequence[str], options: Any) -> None:
    """Print the tables."""
    import report

    print(f"\nmilliseconds per step of all models, best (median) of {options.rounds} rounds\n")
    print(report.time_table(entries, names))
    print("\nthe floor: random words, then products, at this machine's best rates; compile time\n")
    print(report.detail_table(entries, names))
    if options.quality_steps != 0:
        print("\nwhat the trainers reached, medians over models, on common fresh samples\n")
        print(report.quality_table(entries, names))


def positive(text: str) -> int:
    """Parse an argument that must be a positive whole number."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return value


def natural(text: str) -> int:
    """Parse an argument that must be a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Time the trainers side by side.")
    parser.add_argument("--workloads", help="names, comma-separated; default: all of them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results here")
    parser.add_argument("--seconds", type=float, default=2.0, help="per trainer and round")
    parser.add_argument("--rounds", type=positive, default=3)
    parser.add_argument("--threads", type=positive, default=2, help="for every trainer")
    parser.add_argument(
        "--quality-steps", type=natural, metavar="N", help="0 skips the gate; default: per workload"
    )
    options = parser.parse_args(arguments)
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}")
    return options


def choose(names: str | None, workloads: Mapping[str, "Workload"]) -> list["Workload"]:
    """Return the workloads asked for, or exit with the names there are."""
    asked = names.split(",") if names else list(workloads)
    unknown = [name for name in asked if name not in workloads]
    if unknown:
        there_are = ", ".join(workloads)
        print(f"no workload {', '.join(unknown)}; there are {there_are}", file=sys.stderr)
        raise SystemExit(2)
    return [workloads[name] for name in asked]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit code."""
    options = parse(arguments)
    pinned = limit_threads(options.threads)
    from superposition_cli.bench import WORKLOADS

    chosen = choose(options.workloads, WORKLOADS)
    trainers = load_trainers(options.threads)
    entries = run(trainers, chosen, options)
    show(entries, [trainer.name for trainer in trainers], options)
    import report

    if options.json is not None:
        found = report.document(report.describe_machine(options.threads, pinned), entries)
        options.json.write_text(
            json.dumps(found, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
    return 1 if report.failed(entries) else 0


if __name__ == "__main__":
    sys.exit(main())
