"""The loss over the axes of the sweep."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

LINES = 7  # at most so many curves in one figure
POINTS = 3000  # at most so many single models are drawn beside the curve
WHAT = "loss_normalised"


def cells(finding: Finding, results: Results) -> list[Drawing]:
    """Draw loss / null loss over the last axis, a line per value of the others; or as a map."""
    axes = results.plan.experiment.axes
    if not axes or len(finding.rows) < 2:
        return []
    shape = (int(np.prod([axis.length for axis in axes[:-1]])), axes[-1].length)
    values = np.array([row[WHAT] for row in finding.rows], float).reshape(shape)
    if shape[0] <= LINES:
        return [curves(values, finding, results)]
    return [heat_map(values, results)] if len(axes) == 2 else []


def positions(results: Results, axis: int) -> tuple[np.ndarray, list[str] | None]:
    """Return where the steps of an axis are drawn, and their names where they are no numbers.

    Steps that do not rise or fall throughout are drawn in their order, one apart.
    """
    swept = results.plan.experiment.axes[axis]
    steps = [swept.item(i)[0] for i in range(swept.length)]
    numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in steps)
    if numbers and np.all(np.diff(np.sign(np.diff(np.array(steps, float)))) == 0):
        return np.array(steps, float), None
    return np.arange(len(steps), dtype=float), [labels.value(one) for one in steps]


def curves(values: np.ndarray, finding: Finding, results: Results) -> Drawing:
    """Draw one curve over the last axis for each combination of the others, [lines, steps]."""
    figure, grid = style.grid()
    (ax,) = grid.flat
    x, names = positions(results, -1)
    last = results.plan.experiment.axes[-1].names[0]
    every = results.summary[WHAT].reshape(*values.shape, results.plan.restarts).astype(float)
    for line, (curve, models) in enumerate(zip(values, every, strict=True)):
        where = results.plan.assignment(line * values.shape[1])
        others = {k: v for k, v in where.items() if k not in results.plan.experiment.axes[-1].names}
        colour = style.CYCLE[line]
        ax.plot(x, curve, "o-", color=colour, label=labels.cell(others))
        if models.shape[1] > 1 and every.size <= POINTS:
            at = np.repeat(x, models.shape[1])
            ax.plot(at, models.ravel(), ".", color=colour, alpha=0.3, markersize=3, zorder=1)
    ax.set(xlabel=labels.axis(last), ylabel="loss / null loss")
    ax.set_xscale("linear" if names else style.scale_of(x))
    if names:
        ax.set_xticks(x, names)
    else:
        style.plain_ticks(ax)
    ax.set_ylim(0, 1.05 * max(1.0, float(np.nanmax(values))))
    ax.axhline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
    if len(values) > 1:
        ax.legend()
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    dots = " Small dots: all restarts." if results.plan.restarts > 1 else ""
    caption = (
        "Loss by that of answering every feature's mean (dotted line: 1, nothing learned), "
        f"{low:.3g} to {high:.3g} over the sweep.{dots}"
    )
    return Drawing("loss", caption, figure)


def heat_map(values: np.ndarray, results: Results) -> Drawing:
    """Draw the loss over two axes, [first, last]."""
    figure, grid = style.grid(1, 1, (4.6, 3.6))
    (ax,) = grid.flat
    (y, y_names), (x, x_names) = positions(results, 0), positions(results, 1)
    rows, columns = np.argsort(y), np.argsort(x)
    mesh = style.heat_map(ax, x[columns], y[rows], values[np.ix_(rows, columns)])
    figure.colorbar(mesh, ax=ax, label="loss / null loss", aspect=25)
    for which, names, at in (("x", x_names, x), ("y", y_names, y)):
        if names:
            (ax.set_xticks if which == "x" else ax.set_yticks)(at, names)
        else:
            style.plain_ticks(ax, which)
    first, last = (axis.names[0] for axis in results.plan.experiment.axes)
    ax.set(xlabel=labels.axis(last), ylabel=labels.axis(first))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    caption = f"Loss by that of answering every feature's mean, {low:.3g} to {high:.3g}."
    return Drawing("loss", caption, figure)
