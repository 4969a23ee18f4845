"""The house in numbers: how many modules a folder holds and how many floors they stand on.

`python tests/house.py` prints them; `test_house.py` holds them to their limits.
"""

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "superposition_cli"

FOLDER_FILES, ROOT_FILES = 16, 8
FREE_FOLDERS = {"analyses", "report.drawings"}  # one question a file

# The wings from the ground up: a module imports from lower floors, or from its own without a
# cycle. A floor is a wing, or modules at the root.
FLOORS = (
    "errors version",
    "theory",
    "toy",
    "measures",
    "config",
    "running",
    "analyses",
    "report",
    "exchange",
    "verify bench checkup",
    "commands cli __init__",
)


def name_of(path):
    """The dotted name of a module below the package, `__init__` for the package's own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def folder_sizes():
    """How many modules each folder holds, its `__init__` with them; the root is ''."""
    folders = Counter(path.parent.relative_to(PACKAGE) for path in MODULES.values())
    return {".".join(folder.parts): size for folder, size in folders.items()}


def in_numbers():
    """The lines that the command prints."""
    sizes = folder_sizes()
    at_root = sizes.pop("")
    largest = max(sizes.keys() - FREE_FOLDERS, key=lambda folder: (sizes[folder], folder))
    return [
        f"modules at the root   {at_root:3}   at most {ROOT_FILES}",
        f"modules in a folder   {sizes[largest]:3}   at most {FOLDER_FILES}, most in {largest}",
        f"floors of imports     {len(FLOORS):3}",
    ]


if __name__ == "__main__":
    print(*in_numbers(), sep="\n")
