"""The command line: parse, call one function, print its result, choose the exit code.

stdout carries a command's result and nothing else; progress and warnings go to stderr.
JAX is imported inside commands, after the machine has been set up for it.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from superposition_cli import options as given
from superposition_cli.errors import InvalidInput, SpError

app = typer.Typer(
    help="Experiments on superposition in toy models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
DIVERGED = 3

Runs = Path("runs")


@app.callback()
def common(
    no_color: given.NoColor = False,
) -> None:
    """Set what all commands share."""
    if no_color:
        os.environ["NO_COLOR"] = "1"


def console(stderr: bool = False) -> Console:
    """Return the console of a stream; this module owns the only ones."""
    return Console(stderr=stderr, highlight=False)


def tell(text: str) -> None:
    """Say something to the person on stderr."""
    console(stderr=True).print(text, markup=False, soft_wrap=True)


def give_json(content: Any) -> None:
    """Print a result as JSON on stdout."""
    from superposition_cli.running.fsio import plain

    sys.stdout.write(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


@app.command()
def train(
    config: given.Config,
    set_: given.Sets = None,
    out: given.Out = None,
    runs_dir: given.RunsDir = Runs,
    dry_run: given.DryRun = False,
    fresh: given.Fresh = False,
    allow_diverged: given.AllowDiverged = False,
    quiet: given.Quiet = False,
) -> None:
    """Train the base setting with all its restarts; a sweep is left out."""
    experiment, source = _load(config, set_)
    if experiment.sweep is not None:
        tell(f"{source}: sp train leaves the sweep of {experiment.n_cells:,} cells out")
        experiment = experiment.model_copy(update={"sweep": None})
    _launch(experiment, source, out, runs_dir, dry_run, fresh, allow_diverged, 10**7, quiet)


@app.command()
def sweep(
    config: given.Config,
    set_: given.Sets = None,
    out: given.Out = None,
    runs_dir: given.RunsDir = Runs,
    dry_run: given.DryRun = False,
    fresh: given.Fresh = False,
    allow_diverged: given.AllowDiverged = False,
    max_models: given.MaxModels = 10_000_000,
    quiet: given.Quiet = False,
) -> None:
    """Train the whole grid; the same command goes on where it was stopped."""
    experiment, source = _load(config, set_)
    _launch(experiment, source, out, runs_dir, dry_run, fresh, allow_diverged, max_models, quiet)


def _load(name: str, overrides: list[str] | None = None) -> tuple[Any, Path]:
    from superposition_cli import config
    from superposition_cli.analyses import ANALYSES
    from superposition_cli.config import shipped
    from superposition_cli.toy.metrics import METRICS

    source = shipped.find(name)
    known: dict[str, Any] = {"metrics": METRICS, "analyses": ANALYSES}
    return config.load(source, overrides or (), known=known), source


def _launch(
    experiment: Any,
    source: Path,
    out: Path | None,
    runs_dir: Path,
    dry_run: bool,
    fresh: bool,
    allow_diverged: bool,
    max_models: int,
    quiet: bool,
) -> None:
    from superposition_cli.report import terminal
    from superposition_cli.running import devices, launch

    machine = devices.this_machine()
    if dry_run:
        plan = launch.make_plan(experiment, machine, max_models)
        console().print(terminal.plan_table(launch.estimate(plan, machine)))
        return
    path = out or launch.default_path(runs_dir, experiment)
    diverged, _ = _train(experiment, source, path, fresh, max_models, quiet)
    sys.stdout.write(f"{path}\n")
    if diverged:
        total = experiment.n_cells * experiment.train.restarts
        tell(f"{path}: {diverged:,} of {total:,} models diverged (see summary.csv)")
        raise typer.Exit(0 if allow_diverged else DIVERGED)


def _train(
    experiment: Any, source: Path, path: Path, fresh: bool, max_models: int, quiet: bool
) -> tuple[int, bool]:
    """Train what is missing; return how many models diverged in all, and if any was missing."""
    from superposition_cli.report import progress
    from superposition_cli.running import devices, launch, sweep
    from superposition_cli.running.engines.local import local
    from superposition_cli.running.stopping import stoppable

    machine = devices.this_machine()
    run, plan = launch.open_run(experiment, source, path, machine, max_models, fresh)
    for change in launch.drift(run, experiment, machine):
        tell(f"{run.path}: {change}")
        run.log("changed", what=change)
    with (
        run.locked(),
        stoppable(tell) as stopping,
        progress.shown(console(True), plan, quiet) as show,
    ):
        missing = False
        for news in sweep.run_all(run, plan, local, machine.workers, stopping.is_set):
            missing = True
            show(news)
    return run.status().get("diverged", 0), missing


@app.command()
def show(
    run: given.RunName,
    runs_dir: given.RunsDir = Runs,
    columns: given.Columns = "",
    limit: given.Limit = 40,
    as_json: given.AsJson = False,
    as_csv: given.AsCsv = False,
) -> None:
    """Show one run: a row per cell, with the values of the selected models."""
    from superposition_cli.report import show as view
    from superposition_cli.running.folder import locate

    content = view.read(locate(run, runs_dir), None if as_json or as_csv else limit)
    if as_json:
        give_json(view.as_json(content))
    elif as_csv:
        sys.stdout.write(view.as_csv(content))
    else:
        console().print(view.as_table(content, [one for one in columns.split(",") if one]))


@app.command()
def analyze(
    run: given.RunName,
    runs_dir: given.RunsDir = Runs,
    again: given.Again = False,
    as_json: given.AsJson = False,
) -> None:
    """Compute the findings a finished run does not have yet, without training."""
    from superposition_cli import verify as claims
    from superposition_cli.report import terminal
    from superposition_cli.running.folder import locate
    from superposition_cli.running.results import Results

    results = Results(locate(run, runs_dir))
    found = claims.analyze(results, claims.wanted(results.plan.experiment), again)
    content = {name: dict(finding.numbers) for name, finding in found.items()}
    if as_json:
        rows = {name: list(finding.rows) for name, finding in found.items()}
        give_json({"schema_version": 1, "numbers": content, "rows": rows})
    else:
        console().print(terminal.facts_table(content))


@app.command()
def report(
    runs: given.RunNames,
    runs_dir: given.RunsDir = Runs,
    again: given.Again = False,
    format_: given.Format = "html,md",
    quiet: given.Quiet = False,
) -> None:
    """Report on finished runs: a page, figures, and what was found on the terminal."""
    from superposition_cli.report import write

    page, shown = write.report(runs, runs_dir, format_, again)
    if not quiet:
        console(stderr=True).print(shown)
    sys.stdout.write(f"{page}\n")


@app.command()
def plot(
    run: given.RunName,
    figure: given.Figure = "",
    output: given.Output = None,
    runs_dir: given.RunsDir = Runs,
) -> None:
    """Draw one figure of a finished run's report into a file."""
    from superposition_cli.report import write

    sys.stdout.write(f"{write.plot(run, runs_dir, figure, output)}\n")


@app.command()
def verify(
    names: given.Claimed = None,
    runs_dir: given.RunsDir = Runs,
    again: given.Again = False,
    as_json: given.AsJson = False,
    quiet: given.Quiet = False,
) -> None:
    """Hold the claims of configurations or runs against what is observed; 1 if one fails."""
    from superposition_cli import verify as claims
    from superposition_cli.config import shipped
    from superposition_cli.report import terminal

    cases = claims.cases(names or shipped.with_claims("fast"), runs_dir, _load)
    outcomes = []
    for place, case in enumerate(cases, 1):
        if not quiet:
            tell(f"[{place}/{len(cases)}] {case.experiment.name}: {case.path}")
        seconds = _train_case(case, quiet)
        outcomes.append(claims.outcome(case, seconds, again))
        if not as_json:
            console().print(terminal.outcome_view(outcomes[-1]))
    if as_json:
        give_json(claims.as_json(outcomes))
    else:
        console().print(terminal.summary(outcomes))
    if not all(one.passed for one in outcomes):
        raise typer.Exit(1)


def _train_case(case: Any, quiet: bool) -> float | None:
    """Train what a configuration lacks; return the seconds it took, None if it lacked nothing."""
    if case.source is None:
        return None
    begun = time.monotonic()
    _, missing = _train(case.experiment, case.source, case.path, False, 10**7, quiet)
    return time.monotonic() - begun if missing else None


@app.command("list")
def list_(
    what: given.What = "runs",
    runs_dir: given.RunsDir = Runs,
    as_json: given.AsJson = False,
    as_csv: given.AsCsv = False,
) -> None:
    """List the runs there are, or what can be written in a configuration."""
    from superposition_cli.report import listing

    listed = listing.rows(what, runs_dir)
    if as_json:
        give_json({"schema_version": 1, what: listed})
    elif as_csv:
        sys.stdout.write(listing.as_csv(listed))
    else:
        console().print(listing.as_table(listed))


@app.command()
def validate(config: given.Config, set_: given.Sets = None) -> None:
    """Check a configuration; print nothing on stdout when it is sound."""
    experiment, source = _load(config, set_)
    tell(f"{source}: sound, {experiment.n_cells:,} cells x {experiment.train.restarts:,} restarts")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a configuration, for editors."""
    from superposition_cli.config import json_schema

    give_json(json_schema())


@app.command()
def doctor(runs_dir: given.RunsDir = Runs, as_json: given.AsJson = False) -> None:
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


@app.command()
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


def main() -> None:
    """Run the command line and end the process with the right exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    signal.signal(signal.SIGINT, lambda number, _: sys.exit(128 + number))
    try:
        app(standalone_mode=True)
    except SpError as problem:
        for line in str(problem).splitlines():
            tell(f"sp: {line}" if not isinstance(problem, InvalidInput) else line)
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
