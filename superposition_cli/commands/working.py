"""Several processes at one run: `sp work`, `sp finish` and `sp status`."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from superposition_cli.commands import options as given
from superposition_cli.commands.console import RUNS, console, give, give_json, read, tell
from superposition_cli.commands.training import MAX_MODELS, end

LOOK_SECONDS = 2.0


def work(
    run: given.RunOrConfig,
    shard: given.Shard = "0/1",
    numbers: given.Numbers = "",
    runs_dir: given.RunsDir = RUNS,
    as_json: given.AsJson = False,
    quiet: given.Quiet = False,
) -> None:
    """Train a share of a run's chunks beside other processes; the first makes the folder."""
    from superposition_cli.report import progress
    from superposition_cli.running import devices, sweep
    from superposition_cli.running.engines.local import local
    from superposition_cli.running.stopping import stoppable

    path = _folder(run, runs_dir)
    opened, plan = sweep.opened(path)
    own = _lines(len(plan.chunks)) if numbers == "-" else _share(shard, numbers, len(plan.chunks))
    todo = (number for number in own if numbers == "-" or not opened.is_committed(number))
    workers = 1 if numbers == "-" else devices.this_machine().workers
    opened.log("started", chunks=len(plan.chunks), shard=numbers or shard)
    with (
        stoppable(tell) as stopping,
        progress.shown(console(True), plan, quiet) as show,
    ):
        for news in local(path, todo, workers, stopping.is_set):
            show(news)
            if news.finished:
                opened.log("committed", chunk=news.chunk, diverged=news.diverged)
            if as_json:
                give(json.dumps(news._asdict()) + "\n")
                sys.stdout.flush()
    if not as_json:
        give(f"{path}\n")


def finish(
    run: given.RunName, runs_dir: given.RunsDir = RUNS, allow_diverged: given.AllowDiverged = False
) -> None:
    """Check the chunks of a run that several processes trained, and write its tables."""
    from superposition_cli.errors import FolderRefused
    from superposition_cli.running import launch, sweep
    from superposition_cli.running.folder import locate

    path = locate(run, runs_dir)
    opened, plan = launch.load(path)
    with opened.locked():
        if missing := sweep.pending(opened, plan):
            few = ", ".join(map(str, missing[:8])) + (" ..." if len(missing) > 8 else "")
            left = f"{len(missing)} of {len(plan.chunks)} chunks are still to be trained"
            raise FolderRefused(f"{path}: {left}: {few}")
        diverged = sweep.finish(opened, plan)
    end(path, diverged, plan.n_models, allow_diverged)


def status(
    run: given.RunName,
    runs_dir: given.RunsDir = RUNS,
    watch: given.Watch = False,
    as_json: given.AsJson = False,
) -> None:
    """Say how far a run is, whoever trains it."""
    from superposition_cli.report import terminal
    from superposition_cli.running import progression
    from superposition_cli.running.folder import locate

    path = locate(run, runs_dir)
    while True:
        facts = progression.progress_of(path)
        if as_json:
            give_json(facts)
        else:
            console().print(terminal.facts_table(facts))
        if not watch or facts["committed"] == facts["chunks"]:
            return
        time.sleep(LOOK_SECONDS)


def _folder(name: str, runs_dir: Path) -> Path:
    """The run that a name means, made where it is a configuration without one."""
    from superposition_cli.config import shipped
    from superposition_cli.running import devices, launch
    from superposition_cli.running.folder import sought

    if not Path(name).is_file() and name not in shipped.configs():
        found = sought(name, runs_dir)
        if found is not None:
            return found
    experiment, source = read(name)
    path = launch.default_path(runs_dir, experiment)
    machine = devices.this_machine()
    return launch.open_run(experiment, source, path, machine, MAX_MODELS, False)[0].path


def _share(shard: str, numbers: str, count: int) -> list[int]:
    """The chunks that are named, or every N-th from number i."""
    from superposition_cli.errors import InvalidInput

    try:
        if numbers:
            chosen = [int(one) for one in numbers.split(",")]
        else:
            i, n = map(int, shard.split("/"))
            chosen = list(range(i, count, n)) if 0 <= i < n else [-1]
    except ValueError:
        chosen = [-1]
    if any(not 0 <= one < count for one in chosen):
        what = f"--numbers {numbers}" if numbers else f"--shard {shard}"
        raise InvalidInput(f"{what}: needs i/N with 0 <= i < N, or numbers below {count}")
    return chosen


def _lines(count: int) -> Iterator[int]:
    """The numbers that come in on standard input, one a line, until it ends."""
    for line in sys.stdin:
        if line.strip().isdigit() and int(line) < count:
            yield int(line)
