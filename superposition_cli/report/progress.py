"""Progress while models train: a bar for a person, a line now and then for a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from superposition_cli.running.grid import Plan
from superposition_cli.running.sweep import Progress as News

EVERY_SECONDS = 30.0


class Tally:
    """Counts what the news add up to."""

    def __init__(self, plan: Plan) -> None:
        self.models = plan.n_models
        self.total = sum(group.n_models * group.spec.steps for group in plan.groups)
        self.begun = time.monotonic()
        self.resumed = self.steps = self.done = self.diverged = 0
        self.seen: set[int] = set()

    def add(self, news: News) -> None:
        """Take in one piece of news; the first of a chunk says where it was taken up."""
        self.steps += news.model_steps
        if news.chunk not in self.seen:
            self.seen.add(news.chunk)
            self.resumed += news.model_steps
        if news.finished:
            self.done += news.models
            self.diverged += news.diverged

    @property
    def rate(self) -> float:
        """Model steps per second in this process."""
        return (self.steps - self.resumed) / max(time.monotonic() - self.begun, 1e-9)

    def facts(self) -> str:
        """Models done, speed and diverged models, in words."""
        bad = f", {self.diverged:,} diverged" if self.diverged else ""
        return f"{self.done:,}/{self.models:,} models, {self.rate:,.0f} model steps/s{bad}"

    def eta(self) -> str:
        """The time that is left at the present speed."""
        left = (self.total - self.steps) / self.rate if self.rate else float("inf")
        return f"{left:,.0f} s left" if left < 1e9 else "no estimate yet"


@contextmanager
def shown(console: Console, plan: Plan, quiet: bool) -> Iterator[Callable[[News], None]]:
    """Yield a function that shows news on `console`."""
    tally = Tally(plan)
    if quiet:
        yield tally.add
    elif console.is_terminal:
        with _bar(console, tally) as show:
            yield show
    else:
        yield _lines(console, tally)
        if tally.seen:
            taken = time.monotonic() - tally.begun
            console.print(f"{tally.facts()}, {taken:.1f} s", markup=False, soft_wrap=True)


@contextmanager
def _bar(console: Console, tally: Tally) -> Iterator[Callable[[News], None]]:
    columns = (BarColumn(), TextColumn("{task.percentage:>3.0f}%"), TimeRemainingColumn())
    about = TextColumn("{task.fields[facts]}")
    with Progress(*columns, about, console=console, transient=True) as progress:
        task = progress.add_task("", total=tally.total, facts="compiling")

        def show(news: News) -> None:
            tally.add(news)
            progress.update(task, completed=tally.steps, facts=tally.facts())

        yield show


def _lines(console: Console, tally: Tally) -> Callable[[News], None]:
    last = time.monotonic()

    def show(news: News) -> None:
        nonlocal last
        tally.add(news)
        if time.monotonic() - last >= EVERY_SECONDS:
            last = time.monotonic()
            console.print(f"{tally.facts()}, {tally.eta()}", markup=False, soft_wrap=True)

    return show
