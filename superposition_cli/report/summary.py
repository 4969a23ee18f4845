"""A run's report for the terminal: headline, claims, main numbers, and maps in characters."""

from collections.abc import Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from superposition_cli.analyses.claims import shown
from superposition_cli.analyses.findings import Finding
from superposition_cli.report import terminal
from superposition_cli.report.content import Content

BARS = "▁▂▃▄▅▆▇█"
WIDEST = 60  # characters of a sparkline or a map
TALLEST = 24
FATES = "?·▒█"  # undecided, ignored, superposed, dedicated


def view(content: Content) -> RenderableType:
    """Return what a terminal shows of a run: at 80 columns, without colour, and piped."""
    manifest = content.results.run.manifest
    parts: list[RenderableType] = [terminal.headline(manifest, content.status)]
    keys = ("model", "sweep", "selection", "training", "time", "still falling")
    facts = {key: content.facts[key] for key in keys if key in content.facts}
    parts.append(terminal.facts_table(facts))
    for name, why in content.refusals.items():
        parts.append(terminal.clean(f"no {name}: {why}"))
    if content.verdicts:
        parts += [Text(), terminal.verdicts_view(content.verdicts)]
    for name, finding in content.findings.items():
        drawn = SKETCHES[name](finding) if name in SKETCHES else []
        if drawn:
            parts += [Text(), *(terminal.clean(line) for line in drawn)]
    return Group(*parts)


def sparkline(values: Sequence[float | None]) -> str:
    """Return numbers as a line of bars, from the least to the largest; a blank for none."""
    given = np.array(values, float)
    known = given[np.isfinite(given)]
    if not known.size:
        return " " * len(given)
    low, high = known.min(), known.max()
    share = (given - low) / (high - low) if high > low else np.full(len(given), 0.5)
    return "".join(
        BARS[round(float(one) * (len(BARS) - 1))] if np.isfinite(one) else " " for one in share
    )


def _phase(finding: Finding) -> list[str]:
    """The trained classes as a map, p to the right, r upwards."""
    p, r, fate = (finding.arrays[name] for name in ("p", "r", "class_trained"))
    across, up = _thinned(len(p), WIDEST), _thinned(len(r), TALLEST)
    lines = ["last feature, trained: · ignored, ▒ in superposition, █ dedicated dimension"]
    for row in reversed(up):
        edge = f"r = {r[row]:<7.3g}" if row in (up[0], up[-1]) else " " * 11
        lines.append(f"{edge} {''.join(FATES[int(fate[column, row]) + 1] for column in across)}")
    lines.append(f"{'':11} p = {p[0]:.3g} to {p[-1]:.3g}, logarithmic")
    return lines


def _uniform(finding: Finding) -> list[str]:
    d_star = [row["d_star"] for row in finding.rows]
    loss = [row["loss_normalised"] for row in finding.rows]
    p = finding.arrays["p"]
    return [
        f"p         {shown(float(p[0]))} to {shown(float(p[-1]))}",
        f"D*        {sparkline(d_star)}  {shown(d_star[0])} to {shown(d_star[-1])}",
        f"loss/null {sparkline(loss)}  {shown(loss[0])} to {shown(loss[-1])}",
    ]


def _cells(finding: Finding) -> list[str]:
    loss = [row["loss_normalised"] for row in finding.rows]
    if not 1 < len(loss) <= WIDEST:
        return []
    known = [one for one in loss if np.isfinite(one)]
    return [f"loss/null over the cells  {sparkline(loss)}  {min(known):.4g} to {max(known):.4g}"]


def _structure(finding: Finding) -> list[str]:
    """Runs of neighbouring cells with the same structure, in their order."""
    words: list[str] = []
    for row in finding.rows:
        if not words or words[-1] != row["structure"]:
            words.append(str(row["structure"]))
    more = f", and {len(words) - 12} more" if len(words) > 12 else ""
    return [f"structure, cell by cell: {' → '.join(words[:12])}{more}"] if words else []


def _thinned(count: int, most: int) -> list[int]:
    return [int(one) for one in np.linspace(0, count - 1, min(count, most)).round()]


SKETCHES = {"phase": _phase, "uniform": _uniform, "cells": _cells, "structure": _structure}
