"""Holding claims against what is observed: `sp verify`."""

import time
from typing import TYPE_CHECKING

import typer

from superposition_cli.commands import options as given
from superposition_cli.commands.console import RUNS, console, give_json, read, tell
from superposition_cli.commands.training import Request, carry_out

if TYPE_CHECKING:
    from superposition_cli.verify import Case


def verify(
    names: given.Claimed = None,
    seeds: given.Seeds = 1,
    runs_dir: given.RunsDir = RUNS,
    again: given.Again = False,
    as_json: given.AsJson = False,
    quiet: given.Quiet = False,
) -> None:
    """Hold the claims of configurations or runs against what is observed; 1 if one fails."""
    from superposition_cli import verify as claims
    from superposition_cli.config import shipped
    from superposition_cli.report import terminal

    cases = claims.cases(names or shipped.with_claims("fast"), runs_dir, read, seeds)
    outcomes = []
    for place, case in enumerate(cases, 1):
        if not quiet:
            seed = f", seed {case.experiment.seed}" if seeds > 1 else ""
            tell(f"[{place}/{len(cases)}] {case.experiment.name}{seed}: {case.path}")
        seconds = _train_case(case, quiet)
        outcomes.append(claims.outcome(case, seconds, again))
        if not as_json and place % seeds == 0:
            shown = outcomes[-seeds:]
            console().print(
                terminal.outcome_view(*shown) if seeds == 1 else terminal.seeds_view(shown)
            )
    if as_json:
        give_json(claims.as_json(outcomes, seeds))
    else:
        console().print(terminal.summary(outcomes, seeds))
    if not all(one.passed for one in outcomes):
        raise typer.Exit(1)


def _train_case(case: "Case", quiet: bool) -> float | None:
    """Train what a configuration lacks; return the seconds it took, None if it lacked nothing."""
    if case.source is None:
        return None
    begun = time.monotonic()
    ended = carry_out(Request(case.experiment, case.source, case.path, quiet=quiet))
    return time.monotonic() - begun if ended.was_missing else None
