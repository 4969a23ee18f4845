"""Experiments on superposition in toy models: `sp` on the command line, `load` in a notebook."""

from pathlib import Path
from typing import TYPE_CHECKING

from superposition_cli.version import __version__

if TYPE_CHECKING:
    from superposition_cli.running.results import Results

__all__ = ["__version__", "load", "use"]


def load(run: str | Path) -> "Results":
    """Open a finished run folder.

    Raises `FolderRefused` when there is no finished run.
    """
    from superposition_cli.running.results import Results

    return Results(Path(run))


def use(*files: str | Path) -> None:
    """Take in plug-ins, as `--use` does: files that define models, data, metrics and more.

    Raises `InvalidInput` with one line for a file that does not do what it should.
    """
    from superposition_cli.commands import plugins

    plugins.use(files)
