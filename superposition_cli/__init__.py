"""Experiments on superposition in toy models: `sp` on the command line, `load` in a notebook."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superposition_cli.running.results import Results

__all__ = ["__version__", "load"]

try:
    __version__ = version("superposition-cli")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"


def load(run: str | Path) -> "Results":
    """Open a finished run folder.

    Raises `FolderRefused` when there is no finished run.
    """
    from superposition_cli.running.results import Results

    return Results(Path(run))
