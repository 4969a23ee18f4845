"""What an analysis says of itself: its question, what it needs, and every key of its finding."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from superposition_cli.analyses.findings import Finding
from superposition_cli.analyses.needs import Need
from superposition_cli.running.results import Results


class Key(NamedTuple):
    """What a number or an array of a finding is.

    unit: "1" of pure numbers, "loss" of what the loss is measured in, "degrees", "steps",
    "word", "bool", "x²" of an input.
    shape: the axes of an array, as in "[C, n, m]"; none for a number.
    """

    meaning: str
    unit: str = "1"
    shape: str = ""


CELLS = Key("cells that have a selected model")
CELL = Key("numbers of these cells in the run", shape="[C]")


class Keys(NamedTuple):
    """All keys a finding may have: of the run as a whole, of its rows, of its arrays.

    Rows also have the axes of the sweep, which are not listed. Shapes are written with the
    letters of the glossary, C for the cells of the finding.
    """

    numbers: Mapping[str, Key]
    rows: Mapping[str, Key] = {}
    arrays: Mapping[str, Key] = {}


class Analysis(NamedTuple):
    """A question put to a finished run.

    question: one line, the first of its module.
    needs: what a configuration has to meet; all of them, in the order they are told in.
    runs_on: "cpu" where most of it is in float64, which accelerators are slow at, or trains two
        models, which cannot fill one; else "any", where JAX puts it. `answer` sees to it.
    keys: every key of its finding.
    compute: the finding of a run that meets the needs. Raises `InvalidInput` where nothing is
        left to look at, as when all models diverged.
    """

    question: str
    needs: tuple[Need, ...]
    runs_on: Literal["any", "cpu"]
    keys: Keys
    compute: Callable[[Results], Finding]
