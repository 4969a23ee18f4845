"""The two streams: stdout carries a command's result and nothing else, stderr all other words."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from superposition_cli.config import Experiment

RUNS = Path("runs")


def console(stderr: bool = False) -> Console:
    """Return the console of a stream; this module owns the only ones."""
    return Console(stderr=stderr, highlight=False)


def tell(text: str) -> None:
    """Say something to the person on stderr."""
    console(stderr=True).print(text, markup=False, soft_wrap=True)


def give(text: str) -> None:
    """Print a result on stdout as it is."""
    sys.stdout.write(text)


def give_json(content: object) -> None:
    """Print a result as JSON on stdout."""
    from superposition_cli.running.fsio import plain

    give(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def read(
    name: str, overrides: list[str] | None = None, base_alone: bool = False
) -> "tuple[Experiment, Path]":
    """Load a configuration by its path or shipped name; return it and its file.

    base_alone: whether its sweep will be left out.
    """
    from superposition_cli.analyses import ANALYSES, lacking
    from superposition_cli.commands import plugins
    from superposition_cli.config import load, shipped
    from superposition_cli.toy.metrics import METRICS

    source = shipped.find(name)
    known: dict[str, Any] = {"metrics": METRICS, "analyses": ANALYSES}
    asked = None if base_alone else lacking  # the base alone need not be what analyses are for
    experiment = load(source, overrides or (), known, base_alone, asked)
    plugins.check(experiment)
    return experiment, source
