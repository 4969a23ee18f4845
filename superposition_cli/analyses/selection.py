"""The models an analysis looks at: one of each cell, with all that is known of it."""

from dataclasses import dataclass, field

import jax
import numpy as np

from superposition_cli.analyses.findings import Row
from superposition_cli.config import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.running import grid, tables
from superposition_cli.running.fsio import Arrays
from superposition_cli.running.results import Results
from superposition_cli.toy import data, rng, train
from superposition_cli.toy.spec import Knobs, Spec


@dataclass(frozen=True)
class Selected:
    """The selected model of one cell.

    number: which of the run's models it is. axes: what the sweep sets in its cell.
    """

    cell: int
    number: int
    setting: Setting
    axes: Row
    results: Results = field(repr=False)

    @property
    def params(self) -> Arrays:
        """Its parameters by name, W [n, m] ...; read at every use."""
        return self.results.model(self.number)

    def recorded(self, column: str) -> float:
        """Return a number of its own that the tables hold.

        Of the cells, which are fewer; of the summary where those hold means of several models.
        """
        if self.results.averages:
            return float(self.results.summary[column][self.number])
        return float(self.results.cells[column][self.cell])


def selected(results: Results, analysis: str) -> list[Selected]:
    """Return the model that stands for each cell of a run, at least one: see `any_selected`.

    Raises `InvalidInput`, in the name of the analysis, where no cell has one.
    """
    chosen = any_selected(results)
    if not chosen:
        raise InvalidInput(f"{analysis} needs a selected model in at least one cell")
    return chosen


def any_selected(results: Results) -> list[Selected]:
    """Return the model that stands for each cell of a run, in the order of the cells.

    There is none of a cell whose models all diverged. Under a rule that averages it is the best
    of those that are averaged.
    """
    plan = results.plan
    return [
        Selected(cell, number, plan.setting(cell), _axes(plan.assignment(cell)), results)
        for cell, number in results.selected.items()
    ]


def remark(results: Results) -> str | None:
    """Say which models are looked at where cells are averages of several; None where not."""
    if not results.averages:
        return None
    kept = "all models" if results.plan.experiment.train.select == "mean" else "all but the worst"
    return (
        f"cells are means over {kept}; an analysis that looks at one model takes the best of them"
    )


def _axes(assignment: Row) -> Row:
    """What the sweep sets in a cell, vectors in short as tables have them."""
    return {name: tables.brief(value) for name, value in assignment.items()}


def settings(results: Results) -> list[Setting]:
    """Return the settings of all cells of a run."""
    return [results.plan.setting(cell) for cell in range(results.plan.experiment.n_cells)]


def in_float64(setting: Setting) -> tuple[Spec, Knobs]:
    """Return the program of a setting and its numbers in float64, for use under x64."""
    return grid.spec_of(setting), grid.knobs_of_one(setting, "float64")


def covariance(setting: Setting) -> np.ndarray:
    """Return the exact covariance [n, n] of a setting's targets in double precision."""
    with jax.enable_x64(True):
        return np.asarray(data.moments(*in_float64(setting)).covariance)


def model_keys(setting: Setting) -> tuple[jax.Array, jax.Array]:
    """Return the key that a setting's first restart trains with, and its evaluation key."""
    own, evaluation = train.model_keys(*grid.roots_of_one(setting))
    return own[0], evaluation[0]


def stream(setting: Setting, number: int) -> jax.Array:
    """Return a key of an analysis' own, the same for all settings of one seed."""
    return jax.random.fold_in(rng.key(setting.seed), number)
