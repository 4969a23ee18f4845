"""Small multiples: which of many cells are shown, and where on the sheet."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from superposition_cli.report import labels, style
from superposition_cli.running.results import Results

ACROSS, DOWN = 4, 3  # panels of one figure: more would be too small at half width
SIDE = 1.55  # of a panel, inches


class Panel(NamedTuple):
    """One place of a sheet: what is shown there, by its index in the finding, and its title."""

    row: int
    column: int
    at: int
    title: str


def spread(count: int, most: int) -> list[int]:
    """Return at most so many of `count` places, the first and the last among them."""
    return [int(one) for one in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def in_lines(titles: Sequence[str], most: int = 2 * ACROSS) -> list[Panel]:
    """Lay out at most so many things in lines of up to `ACROSS`, in their order."""
    some = spread(len(titles), most)
    across = -(-len(some) // -(-len(some) // ACROSS))
    return [Panel(*divmod(i, across), at, titles[at]) for i, at in enumerate(some)]


def of_cells(results: Results, cells: np.ndarray) -> list[Panel]:
    """Choose among cells [C] evenly over the grid and lay them out, the last axis across."""
    place = {int(cell): at for at, cell in enumerate(cells)}
    titles = {cell: labels.cell(results.plan.assignment(cell)) for cell in place}
    lengths = [axis.length for axis in results.plan.experiment.axes]
    if len(lengths) < 2:
        return in_lines(list(titles.values()))
    width = lengths[-1]
    rows, columns = spread(int(np.prod(lengths[:-1])), DOWN), spread(width, ACROSS)
    chosen = [(i, j, r * width + c) for i, r in enumerate(rows) for j, c in enumerate(columns)]
    return [Panel(i, j, place[cell], titles[cell]) for i, j, cell in chosen if cell in place]


def sheet(shown: list[Panel], side: float = SIDE) -> tuple[Figure, list[Axes]]:
    """Return a figure and the axes of the panels, titled; other places stay empty."""
    rows, columns = max(one.row for one in shown) + 1, max(one.column for one in shown) + 1
    figure, axes = style.grid(rows, columns, (side, side + 0.15))
    for one in axes.flat:
        one.set_axis_off()
    titled = [axes[panel.row, panel.column] for panel in shown]
    for panel, ax in zip(shown, titled, strict=True):
        ax.set_axis_on()
        ax.set_title(panel.title.replace(", ", "\n"), fontsize=9)
    return figure, titled


def bare(axes: Axes) -> None:
    """Take ticks and spines away, for pictures without scales."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def some_of(shown: list[Panel], count: int) -> str:
    """Say in a caption that not everything is shown; nothing where all is."""
    return f" Shown: {len(shown)} of {count} cells." if len(shown) < count else ""
