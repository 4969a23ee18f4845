"""The configurations that come with the package, in a clone and after an install."""

import difflib
from pathlib import Path

from superposition_cli.config import loading
from superposition_cli.errors import InvalidInput

PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Return the folder of shipped configurations."""
    installed = PACKAGE / "configs"
    return installed if installed.is_dir() else PACKAGE.parent / "configs"


def configs() -> dict[str, Path]:
    """Return the shipped configurations by name."""
    return {path.stem: path for path in sorted(folder().glob("*.yaml"))}


def find(source: str) -> Path:
    """Return the file a person means: a path, or the name of a shipped configuration."""
    path = Path(source)
    if path.is_file():
        return path
    known = configs()
    if source in known:
        return known[source]
    if path.is_dir():
        raise InvalidInput(f"{source}: is a folder, not a configuration file")
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else "; `sp list configs` names the shipped ones"
    raise InvalidInput(f"{source}: no such file or shipped configuration{hint}")


def with_claims(cost: str) -> list[str]:
    """Return the names of shipped configurations of a cost that expect something."""
    loaded = {name: loading.load(path) for name, path in configs().items()}
    return [name for name, one in loaded.items() if one.expect and one.cost == cost]


def about(path: Path) -> list[str]:
    """Return the comment lines a configuration opens with, without their marks."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").strip())
    return lines
