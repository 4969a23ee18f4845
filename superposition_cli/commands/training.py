"""Training a configuration: `sp train` and `sp sweep`."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from superposition_cli.commands import options as given
from superposition_cli.commands.console import RUNS, console, give, read, tell

if TYPE_CHECKING:
    from superposition_cli.config import Experiment
    from superposition_cli.running.sweep import Engine

DIVERGED = 3
MAX_MODELS = 10_000_000


class Request(NamedTuple):
    """What is to be trained, where to, and how much is said about it."""

    experiment: "Experiment"
    source: Path  # the file it was read from
    path: Path  # the run folder
    fresh: bool = False  # an existing folder is moved aside
    max_models: int = MAX_MODELS
    quiet: bool = False
    engine: str = "local"
    devices: int | None = None


class Trained(NamedTuple):
    """How a request ended."""

    diverged: int  # models in all
    was_missing: bool  # whether there was anything left to train


def train(
    config: given.Config,
    set_: given.Sets = None,
    out: given.Out = None,
    runs_dir: given.RunsDir = RUNS,
    dry_run: given.DryRun = False,
    fresh: given.Fresh = False,
    allow_diverged: given.AllowDiverged = False,
    quiet: given.Quiet = False,
) -> None:
    """Train the base setting with all its restarts; a sweep is left out."""
    experiment, source = read(config, set_, base_alone=True)
    if experiment.sweep is not None:
        tell(f"{source}: sp train leaves the sweep of {experiment.n_cells:,} cells out")
        experiment = experiment.model_copy(update={"sweep": None})
    path = out or _default_path(runs_dir, experiment)
    _launch(Request(experiment, source, path, fresh, quiet=quiet), dry_run, allow_diverged)


def sweep(
    config: given.Config,
    set_: given.Sets = None,
    out: given.Out = None,
    runs_dir: given.RunsDir = RUNS,
    dry_run: given.DryRun = False,
    fresh: given.Fresh = False,
    allow_diverged: given.AllowDiverged = False,
    max_models: given.MaxModels = MAX_MODELS,
    engine: given.Engine = "local",
    devices: given.Devices = None,
    quiet: given.Quiet = False,
) -> None:
    """Train the whole grid; the same command goes on where it was stopped."""
    experiment, source = read(config, set_)
    path = out or _default_path(runs_dir, experiment)
    request = Request(experiment, source, path, fresh, max_models, quiet, engine, devices)
    _launch(request, dry_run, allow_diverged)


def _default_path(runs_dir: Path, experiment: "Experiment") -> Path:
    from superposition_cli.running import launch

    return launch.default_path(runs_dir, experiment)


def _launch(request: Request, dry_run: bool, allow_diverged: bool) -> None:
    """Show the plan, or carry it out and print the run folder."""
    if dry_run:
        show_plan(request)
        return
    diverged, _ = carry_out(request)
    total = request.experiment.n_cells * request.experiment.train.restarts
    end(request.path, diverged, total, allow_diverged)


def end(path: Path, diverged: int, total: int, allow_diverged: bool) -> None:
    """Print a finished run's folder, and leave with `DIVERGED` where models of it did."""
    give(f"{path}\n")
    if diverged:
        tell(f"{path}: {diverged:,} of {total:,} models diverged (status in the summary)")
        raise typer.Exit(0 if allow_diverged else DIVERGED)


def show_plan(request: Request) -> None:
    """Print what a request will take, without training."""
    from superposition_cli.report import terminal
    from superposition_cli.running import devices, launch

    machine = devices.this_machine()
    plan = launch.make_plan(request.experiment, machine, request.max_models)
    for remark in launch.remarks(plan):
        tell(f"{request.source}: {remark}")
    console().print(terminal.plan_table(launch.estimate(plan, machine)))


def carry_out(request: Request) -> Trained:
    """Train what is missing in the run folder of a request."""
    from superposition_cli.report import progress
    from superposition_cli.running import devices, launch
    from superposition_cli.running import sweep as driver
    from superposition_cli.running.stopping import stoppable

    engine = _engine(request.engine)
    machine = devices.this_machine()
    experiment, source, path, fresh, max_models, quiet, *_ = request
    own = machine.n_devices if request.engine == "pool" else 1
    workers = request.devices or (machine.workers if machine.platform == "cpu" else own)
    run, plan = launch.open_run(experiment, source, path, machine, max_models, fresh)
    for remark in launch.remarks(plan):
        tell(f"{run.path}: {remark}")
    for change in launch.drift(run, machine):
        tell(f"{run.path}: {change}")
        run.log("changed", what=change)
    with (
        run.locked(),
        stoppable(tell) as stopping,
        progress.shown(console(True), plan, quiet) as show,
    ):
        for news in launch.adopt(run, experiment, source):
            tell(f"{run.path}: {news}")
        missing = False
        for done in driver.run_all(run, plan, engine, workers, stopping.is_set):
            missing = True
            show(done)
    return Trained(run.status().get("diverged", 0), missing)


def _engine(name: str) -> "Engine":
    """The engine of a name; workers of a pool take the same plug-ins in."""
    from superposition_cli.commands import plugins
    from superposition_cli.errors import InvalidInput
    from superposition_cli.running.engines.local import local
    from superposition_cli.running.engines.pool import pool

    if name == "pool":  # the memory of GPUs is the workers'
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if name not in ("local", "pool"):
        raise InvalidInput(f"--engine {name}: there are local and pool")
    more = [word for file in plugins.FILES for word in ("--use", file)]
    return local if name == "local" else partial(pool, more=more)
