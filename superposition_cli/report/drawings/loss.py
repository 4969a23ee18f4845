"""How the training loss fell: the model that stands for each of some cells, its restarts beside."""

from typing import NamedTuple

import numpy as np

from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

CELLS = len(style.CYCLE)
RESTARTS = 20  # lines beside the model that stands for a cell


class Curve(NamedTuple):
    """The training of one model."""

    cell: int
    number: int
    step: np.ndarray  # [H]
    loss: np.ndarray  # [H]


def loss(results: Results) -> Drawing | None:
    """Draw the loss of some cells over the steps; nothing where no step was taken."""
    chosen = list(results.selected)
    shown = [chosen[at] for at in panels.spread(len(chosen), CELLS)]
    numbers = [(cell, results.selected[cell]) for cell in shown]
    curves = [Curve(cell, number, *results.curve(number)) for cell, number in numbers]
    if not any(len(one.step) for one in curves):
        return None
    figure, ((ax,),) = style.grid()
    for colour, one in zip(style.CYCLE, curves, strict=False):
        for other in _others(results, one):
            ax.plot(one.step + 1, results.curve(other)[1], color=colour, alpha=0.3, linewidth=0.7)
        ax.plot(one.step + 1, one.loss, color=colour, label=_name(results, one.cell))
    scale = style.scale_of(np.concatenate([one.loss for one in curves]))
    ax.set(xscale="log", yscale=scale, xlabel="step", ylabel="training loss")
    style.plain_ticks(ax)
    style.plain_ticks(ax, "y")
    if results.plan.experiment.axes:
        figure.legend(loc="outside lower center", ncols=2)
    return Drawing("loss", _caption(results, curves), figure)


def _others(results: Results, chosen: Curve) -> list[int]:
    """Some other models of a cell, evenly chosen."""
    restarts = results.plan.restarts
    every = [chosen.cell * restarts + one for one in panels.spread(restarts, RESTARTS + 1)]
    return [number for number in every if number != chosen.number][:RESTARTS]


def _name(results: Results, cell: int) -> str:
    return labels.cell(results.plan.assignment(cell)) or "model"


def _caption(results: Results, curves: list[Curve]) -> str:
    """What is drawn, how far the loss falls, and what is left out."""
    falls = [(one.loss[0] / one.loss[-1], one.cell) for one in curves if one.loss[-1:] > 0]
    most, cell = max(falls, default=(0.0, 0))
    furthest = f" furthest at {_name(results, cell)}," if len(falls) > 1 else ""
    fall = f" It falls{furthest} by a factor of {most:.3g}." if most > 1 else ""
    restarts = "; thin: other restarts" if results.plan.restarts > 1 else ""
    count = results.plan.experiment.n_cells
    left_out = f" Shown: {len(curves)} of {count} cells." if len(curves) < count else ""
    return f"Loss on the batch of each step, of the best model of a cell{restarts}.{fall}{left_out}"
