"""Several runs side by side: what differs, what each found, and their figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from superposition_cli.analyses.claims import Verdict, shown
from superposition_cli.report import labels, page, terminal
from superposition_cli.report.content import Content
from superposition_cli.running import fsio, launch

WHAT = "loss_normalised"


class Claim(NamedTuple):
    """One claim and the verdict of each run on it, None where a run does not make it."""

    id: str
    claim: str
    expected: str
    verdicts: list[Verdict | None]


def write(runs: Sequence[Content], kinds: tuple[str, ...]) -> Path:
    """Write the comparison into the report folder of the first run; return its page."""
    given: dict[str, Any] = {
        "title": " and ".join(one.title for one in runs),
        "runs": list(runs),
        "differences": differences(runs),
        "claims": claims(runs),
        "cells": cells(runs),
        "figures": figures(runs) if "html" in kinds else {},
    }
    folder = runs[0].results.run.path / "report"
    files = [folder / f"compare.{kind}" for kind in kinds]
    for file in files:
        fsio.write_text(file, page.fill(f"{file.name}.j2", **given))
    return files[0]


def differences(runs: Sequence[Content]) -> dict[str, list[str]]:
    """Return in which settings each further run differs from the first."""
    first, *others = [(one.title, one.results.run.manifest["identity"]) for one in runs]
    return {title: launch.differences(first[1], identity) for title, identity in others}


def claims(runs: Sequence[Content]) -> list[Claim]:
    """Return the claims of all runs, equal ones (same id, words and expectation) in one row."""
    rows: dict[tuple[str, str, str], Claim] = {}
    for place, run in enumerate(runs):
        for one in run.verdicts:
            key = (one.id, one.claim or one.finding, one.expected)
            rows.setdefault(key, Claim(*key, [None] * len(runs))).verdicts[place] = one
    return list(rows.values())


def figures(runs: Sequence[Content]) -> dict[str, list[tuple[str, page.Picture]]]:
    """Return the figures by name, each with those of all runs that have it."""
    found: dict[str, list[tuple[str, page.Picture]]] = {}
    for run in runs:
        for one in page.pictures(run):
            found.setdefault(one.stem, []).append((run.title, one))
    return found


def cells(runs: Sequence[Content]) -> dict[str, Any] | None:
    """Return the losses of all runs cell by cell where their grids are the same, else None."""
    plans = [run.results.plan for run in runs]
    count = plans[0].experiment.n_cells
    if any(plan.experiment.axes != plans[0].experiment.axes for plan in plans):
        return None
    losses = [run.results.cells[WHAT] for run in runs]
    rows = [
        [labels.cell(plans[0].assignment(cell)), *(f"{loss[cell]:.4g}" for loss in losses)]
        for cell in range(min(count, page.TABLE_ROWS))
    ]
    return {"rows": rows, "left_out": count - len(rows)}


def view(runs: Sequence[Content]) -> RenderableType:
    """Return what a terminal shows of the comparison."""
    parts: list[RenderableType] = [
        terminal.headline(run.results.run.manifest, run.status) for run in runs
    ]
    for title, lines in differences(runs).items():
        parts += [Text(), terminal.clean(f"{runs[0].title} -> {title}:")]
        parts += [terminal.clean(f"  {line}") for line in lines or ["nothing in what is trained"]]
    found = claims(runs)
    if found:
        columns = ["id", "claim", "expected", *(run.title for run in runs)]
        rows = [[one.id, one.claim, one.expected, *map(_word, one.verdicts)] for one in found]
        parts += [Text(), terminal.table(columns, rows, numeric=False)]
    return Group(*parts)


def _word(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not asked"
    return f"{shown(verdict.observed)} {'pass' if verdict.passed else 'FAIL'}"
