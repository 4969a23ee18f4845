"""Verification: which runs are held against their claims, and what came out in all."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from superposition_cli import config
from superposition_cli.analyses import analysis_of
from superposition_cli.analyses.claims import Outcome, check, tallies
from superposition_cli.config import Experiment, shipped
from superposition_cli.errors import InvalidInput
from superposition_cli.running import launch
from superposition_cli.running.environment import now
from superposition_cli.running.folder import sought
from superposition_cli.running.results import Results
from superposition_cli.version import __version__

SCHEMA_VERSION = 1
Read = Callable[[str, list[str]], tuple[Experiment, Path]]


class Case(NamedTuple):
    """One run to be verified, and the configuration file it is trained from.

    source: None for a run that is there; only a configuration is trained.
    """

    path: Path
    experiment: Experiment
    source: Path | None


def cases(names: Sequence[str], runs_dir: Path, read: Read, seeds: int = 1) -> list[Case]:
    """Return what is to be verified.

    read: loads a configuration by its path or shipped name, with fields set as `--set` does.
    seeds: K, for which a configuration of seed s gives K cases in a row: s, s + 1, ..., s + K - 1.

    Raises `InvalidInput` for a name that is neither, for what expects nothing, for a claim
    about an analysis that there is not, and where K > 1 for what has no other seeds: all
    before anything is trained.
    """
    found = []
    for name in dict.fromkeys(names):
        if (path := _run_named(name, runs_dir)) is not None:
            case = Case(path, launch.load(path)[1].experiment, None)
        else:
            experiment, source = read(name, [])
            case = Case(launch.default_path(runs_dir, experiment), experiment, source)
        if not case.experiment.expect:
            raise InvalidInput(f"{name}: has no claims to verify (nothing under expect)")
        for entry in case.experiment.expect:
            analysis_of(entry)
        found += [case, *_of_other_seeds(name, case, runs_dir, read, seeds)]
    return found


def _of_other_seeds(
    name: str, case: Case, runs_dir: Path, read: Read, seeds: int
) -> Iterator[Case]:
    """The same configuration with the seeds that follow its own, as `--set seed=...` gives it."""
    if seeds > 1 and case.source is None:
        raise InvalidInput(f"{name}: is a run; only a configuration can be trained with more seeds")
    named = [name for axis in case.experiment.axes for name in axis.names]
    named += [name for entry in case.experiment.expect for name in entry.where or ()]
    if seeds > 1 and "seed" in named:
        raise InvalidInput(f"{name}: names seeds of its own, in its sweep or under where")
    for seed in range(case.experiment.seed + 1, case.experiment.seed + seeds):
        experiment, source = read(name, [f"seed={seed}"])
        yield Case(launch.default_path(runs_dir, experiment), experiment, source)


def _run_named(name: str, runs_dir: Path) -> Path | None:
    """The run that a name means as `sp show` takes it; a configuration's name goes before."""
    if (Path(name) / "run.json").is_file():
        return Path(name)
    if Path(name).is_file() or name in shipped.configs():
        return None
    return sought(name, runs_dir)


def outcome(case: Case, train_seconds: float | None, again: bool = False) -> Outcome:
    """Hold the claims of a case against its finished run."""
    begun = time.monotonic()
    results = Results(case.path)
    verdicts = tuple(check(results, case.experiment.expect, again))
    experiment = case.experiment
    return Outcome(
        config=experiment.name,
        seed=experiment.seed,
        hash8=config.hash8(experiment),
        cost=experiment.cost,
        run=str(case.path),
        device=results.run.manifest["machine"]["device"],
        train_seconds=train_seconds,
        analysis_seconds=time.monotonic() - begun,
        verdicts=verdicts,
    )


def as_json(outcomes: Sequence[Outcome], seeds: int = 1) -> dict[str, object]:
    """Return what `sp verify --json` prints: runs with their verdicts, claims over all seeds."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        "created": now(),
        "passed": all(one.passed for one in outcomes),
        "configs": [
            {**one._asdict(), "passed": one.passed, "verdicts": [v._asdict() for v in one.verdicts]}
            for one in outcomes
        ],
        "seeds": seeds,
        "claims": [
            {"config": one.config, "id": one.verdict.id, **one.spread._asdict()}
            for one in tallies(outcomes, seeds)
        ],
    }
