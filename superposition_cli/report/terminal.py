"""What a terminal shows: tables of runs, cells, plans and measurements, as Rich renderables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from superposition_cli.analyses.claims import (
    Outcome,
    Spread,
    Tally,
    Verdict,
    middle_shown,
    range_shown,
    shown,
    tallies,
)
from superposition_cli.report.labels import HEADINGS, plain, with_spread
from superposition_cli.running.launch import Estimate


def clean(text: str) -> Text:
    """Return text from outside as it is: no markup, no control characters."""
    return Text(plain(text))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], numeric: bool = True) -> Table:
    """Return a plain table whose columns after the first are right-aligned numbers."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), header_style="bold")
    body = [list(row) for row in rows]
    for index, name in enumerate(columns):
        figures = numeric and all(_is_figure(row[index]) for row in body)
        made.add_column(clean(name), justify="right" if figures else "left", overflow="fold")
    for row in body:
        made.add_row(*(clean(value) for value in row))
    return made


def _is_figure(text: str) -> bool:
    return (
        not text
        or text.replace(".", "").replace("-", "").replace("e", "").replace("%", "").isdigit()
    )


def plan_table(estimate: Estimate) -> Table:
    """Show what a plan will take."""
    rows = [
        ("cells", f"{estimate.cells:,}"),
        ("models", f"{estimate.models:,}"),
        ("groups", f"{estimate.groups:,}"),
        ("chunks", f"{estimate.chunks:,}"),
        ("programs to compile", f"{estimate.programs:,}"),
        ("memory", size(estimate.bytes_memory)),
        ("disk", size(estimate.bytes_disk)),
        ("model steps", f"{estimate.model_steps:.3g}"),
    ]
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column()
    made.add_column(justify="right")
    for name, value in rows:
        made.add_row(name, value)
    return made


def size(count: float) -> str:
    """Return a number of bytes for the eye."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def cells_table(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> Table:
    """Show chosen columns of a run's cells."""
    names = [HEADINGS.get(name, name.split(".", 1)[-1]) for name in columns]
    return table(names, [[with_spread(row, name) for name in columns] for row in rows])


def headline(manifest: Mapping[str, object], status: Mapping[str, object]) -> Text:
    """Say in one line what a run is and how far it has got."""
    state = status.get("state", "unknown")
    diverged = status.get("diverged", 0)
    ending = f", {diverged:,} diverged" if diverged else ""
    return clean(
        f"{manifest['name']}-{manifest['hash8']}: {state}, {manifest['cells']:,} cells x "
        f"{manifest['restarts']:,} restarts = {manifest['models']:,} models{ending}"
    )


def facts_table(facts: Mapping[str, object]) -> Table:
    """Show nested facts, one a line."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column()
    made.add_column(overflow="fold")
    for name, value in facts.items():
        inner = value if isinstance(value, Mapping) else {"": value}
        for key, fact in inner.items():
            text = ", ".join(map(str, fact)) or "none" if isinstance(fact, list) else str(fact)
            made.add_row(clean(f"{name} {key}".strip()), clean(text))
    return made


def bench_table(measured: Mapping[str, Any]) -> Table:
    """Show the speed of the standard workloads."""
    columns = ("workload", "models", "n", "m", "batch", "ms/step", "model steps/s", "compile s")
    rows = [
        [
            result["name"],
            str(result["models"]),
            str(result["n_features"]),
            str(result["n_hidden"]),
            str(result["batch_size"]),
            f"{result['ms_per_step']:.3g}",
            f"{result['model_steps_per_second']:.0f}",
            f"{result['compile_seconds']:.1f}",
        ]
        for result in measured["workloads"]
    ]
    return table(columns, rows)


def outcome_view(outcome: Outcome) -> RenderableType:
    """Show what a run took, and each claim with what was expected and observed."""
    seconds = outcome.train_seconds
    trained = "trained before" if seconds is None else f"trained in {seconds:.1f} s"
    title = (
        f"{outcome.config}: {_held(outcome.verdicts)}; "
        f"{trained}, analysed in {outcome.analysis_seconds:.1f} s"
    )
    return Group(clean(title), verdicts_table(outcome.verdicts))


def seeds_view(outcomes: Sequence[Outcome]) -> RenderableType:
    """Show each claim of one configuration with its spread over the runs of several seeds."""
    seeds = len(outcomes)
    claims = tallies(outcomes, seeds)
    taken = _seconds(outcomes)
    title = (
        f"{outcomes[0].config}: {_held_for_all(claims)} for each of {seeds} seeds; {taken:.0f} s"
    )
    rows = [
        [v.id, v.claim, v.expected, middle_shown(seen), range_shown(seen), _share(seen)]
        for _, v, seen in claims
    ]
    columns = ("id", "claim", "expected", "observed", "spread", "held")
    return Group(clean(title), table(columns, rows, numeric=False))


def _seconds(outcomes: Sequence[Outcome]) -> float:
    return sum((one.train_seconds or 0) + one.analysis_seconds for one in outcomes)


def _share(seen: Spread) -> str:
    return f"{seen.held} of {seen.seeds}"


def _held_for_all(claims: Sequence[Tally]) -> str:
    return f"{sum(one.spread.passed for one in claims)} of {len(claims)} claims hold"


def verdicts_view(verdicts: Sequence[Verdict]) -> RenderableType:
    """Show how many claims hold, and each of them."""
    return Group(clean(_held(verdicts)), verdicts_table(verdicts))


def verdicts_table(verdicts: Sequence[Verdict]) -> Table:
    """Show each claim with what was expected and observed."""
    rows = [
        [v.id, v.claim, v.expected, shown(v.observed), "pass" if v.passed else "FAIL"]
        for v in verdicts
    ]
    return table(("id", "claim", "expected", "observed", "verdict"), rows, numeric=False)


def summary(outcomes: Sequence[Outcome], seeds: int = 1) -> Text:
    """Say how many claims hold for every seed, and which do not."""
    claims = tallies(outcomes, seeds)
    failed = [
        f"{config} {verdict.id}" + (f" ({_share(seen)})" if seeds > 1 else "")
        for config, verdict, seen in claims
        if not seen.passed
    ]
    ending = f"; not {', '.join(failed)}" if failed else ""
    taken = _seconds(outcomes)
    runs = "1 run" if len(outcomes) == 1 else f"{len(outcomes)} runs"
    each = f" for each of {seeds} seeds" if seeds > 1 else ""
    return clean(f"{_held_for_all(claims)}{each} in {runs}, {taken:.0f} s{ending}")


def _held(verdicts: Sequence[Verdict]) -> str:
    good = sum(one.passed for one in verdicts)
    return f"{good} of {len(verdicts)} claims hold"
