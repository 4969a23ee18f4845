"""What there is: runs, shipped configurations, and the words a configuration may use."""

import csv
import difflib
import inspect
import io
from collections.abc import Callable
from pathlib import Path

from rich.console import RenderableType

from superposition_cli.errors import FolderRefused, InvalidInput
from superposition_cli.report import terminal

Rows = list[dict[str, object]]


def rows(what: str, runs_dir: Path) -> Rows:
    """Return what is asked for, a mapping a row. Raises `InvalidInput` for another word."""
    if what not in LISTS:
        near = difflib.get_close_matches(what, LISTS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InvalidInput(f"{what}: there is a list of {', '.join(LISTS)}{hint}")
    return LISTS[what](runs_dir)


def as_table(listed: Rows) -> RenderableType:
    """Return a table, or a word when it would be empty."""
    if not listed:
        return terminal.clean("nothing yet")
    return terminal.table(list(listed[0]), [list(map(_text, row.values())) for row in listed])


def _text(value: object) -> str:
    return "" if value is None else str(value)


def as_csv(listed: Rows) -> str:
    """Return the rows as CSV."""
    text = io.StringIO()
    if listed:
        writer = csv.DictWriter(text, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)
    return text.getvalue()


def _runs(runs_dir: Path) -> Rows:
    from superposition_cli.running import folder

    return [_about_run(path) for path in folder.find(runs_dir)]


def _about_run(path: Path) -> dict[str, object]:
    from superposition_cli.running import folder

    facts: dict[str, object] = {}
    status: dict[str, object] = {}
    try:
        run = folder.Run.open(path)
        status, facts = run.status(), run.manifest
    except FolderRefused as problem:
        status = {"state": f"unreadable: {problem}"}
    return {
        "run": path.name,
        "state": str(status.get("state", "unknown")),
        "cells": facts.get("cells"),
        "models": facts.get("models"),
        "diverged": status.get("diverged"),
        "created": facts.get("created"),
    }


def _configs(_: Path) -> Rows:
    from superposition_cli.config import shipped

    listed: Rows = []
    for name, path in shipped.configs().items():
        about = [line for line in shipped.about(path) if not line.startswith(("sp ", "Cost:"))]
        listed.append({"config": name, "about": " ".join(about).split(". ")[0]})
    return listed


def _documented(module: str, table: str, pick: Callable) -> Callable[[Path], Rows]:
    """List a table of the package with the first sentence about each of its entries."""

    def listed(_: Path) -> Rows:
        import importlib

        entries = getattr(importlib.import_module(f"superposition_cli.{module}"), table)
        return [{"name": name, "about": pick(entry)} for name, entry in entries.items()]

    return listed


def _sentence(function: Callable) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


LISTS: dict[str, Callable[[Path], Rows]] = {
    "runs": _runs,
    "configs": _configs,
    "models": _documented("toy.models", "MODELS", lambda entry: _sentence(entry.apply)),
    "data": _documented("toy.data", "SAMPLERS", lambda entry: _sentence(entry.draw)),
    "targets": _documented("toy.data", "TARGETS", lambda entry: _sentence(entry.answer)),
    "objectives": _documented("toy.objectives", "OBJECTIVES", lambda entry: _sentence(entry.loss)),
    "optimizers": _documented("toy.train", "OPTIMIZERS", _sentence),
    "schedules": _documented("toy.train", "SCHEDULES", _sentence),
    "analyses": _documented("analyses", "ANALYSES", lambda entry: entry.question),
    "metrics": _documented("toy.metrics", "METRICS", lambda entry: entry.about),
}
