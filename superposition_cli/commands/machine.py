"""What this machine is and how fast: `sp doctor` and `sp bench`."""

import typer

from superposition_cli.commands import options as given
from superposition_cli.commands.console import RUNS, console, give_json


def doctor(runs_dir: given.RunsDir = RUNS, as_json: given.AsJson = False) -> None:
    """Say what this machine offers: versions, devices, free disk, a write test."""
    from superposition_cli import checkup
    from superposition_cli.report import terminal

    found = checkup.examine(runs_dir)
    if as_json:
        give_json(found)
    else:
        console().print(terminal.facts_table(found))
    if found["faults"]:
        raise typer.Exit(1)


def bench(
    workloads: given.Workloads = "",
    seconds: given.Seconds = 3.0,
    as_json: given.AsJson = False,
) -> None:
    """Measure models x steps per second on the standard workloads."""
    from superposition_cli import bench as benchmark
    from superposition_cli.report import terminal

    measured = benchmark.report(benchmark.named(workloads), seconds)
    if as_json:
        give_json(measured)
    else:
        console().print(terminal.bench_table(measured))
