"""Learning: losses of all models, and dimensionalities of features of the selected ones."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

CELLS = 3  # of the figure of dimensionalities
LEVELS = (("null", "answering the mean"), ("collapsed", "collapsed sets"), ("opposite", "opposite"))
REPRESENTED = 0.5
STICKY = (1.0, 0.5)


def dynamics(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the losses over the steps, and D_i with the jumps beneath them."""
    return [losses(finding), dimensionality(finding, results)]


def losses(finding: Finding) -> Drawing:
    """Draw the loss of every model over the steps, the selected ones bold, with known levels."""
    step, loss = finding.arrays["step"], finding.arrays["loss"]
    figure, grid = style.grid()
    (ax,) = grid.flat
    for row, values in zip(finding.rows, loss, strict=True):
        look = {"color": style.BLUE, "linewidth": 1.8, "zorder": 3} if row["selected"] else {}
        ax.plot(step + 1, values, **{"color": style.SKY, "linewidth": 0.8, **look})
    for (name, word), dashes in zip(LEVELS, (":", "--", "-."), strict=True):
        levels = {row[f"loss_{name}"] for row in finding.rows} - {None}
        if len(levels) == 1:
            ax.axhline(*levels, color=style.INK, linestyle=dashes, linewidth=1, label=word)
    ax.set(xscale="log", yscale=style.scale_of(loss), xlabel="step + 1", ylabel="loss")
    style.plain_ticks(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(title="closed forms")
    numbers = finding.numbers
    falls = [labels.number(numbers[f"fall_{kind}_jumps"], 2) for kind in ("with", "without")]
    caption = (
        f"Loss of {numbers['models']} models (dark: selected) on one set of data for all steps. "
        f"Its logarithm falls by {falls[0]} in a window of steps in "
        f"which some D_i jumps, and by {falls[1]} in one without."
    )
    return Drawing("losses", caption, figure)


def dimensionality(finding: Finding, results: Results) -> Drawing:
    """Draw D_i of every represented feature over the steps in some cells, and all jumps."""
    step, edge = finding.arrays["step"], step_edges(finding)
    D = np.where(finding.arrays["norms"] > REPRESENTED, finding.arrays["D"], np.nan)
    selected = [at for at, row in enumerate(finding.rows) if row["selected"]]
    shown = panels.spread(len(D), CELLS)
    figure, grid = style.grid(
        2, len(shown), (style.WIDTH / max(1, len(shown) ** 0.5), 2.2), sharex=True
    )
    for column, at in enumerate(shown):
        upper, lower = grid[:, column]
        for value in STICKY:
            upper.axhline(value, color=style.FAINT, linewidth=0.8, zorder=0)
        upper.plot(step + 1, D[at], color=style.BLUE, linewidth=0.8, alpha=0.5)
        upper.set(ylim=(0, 1.05), xscale="log")
        where = results.plan.assignment(
            int(finding.arrays["model"][selected[at]]) // results.plan.restarts
        )
        upper.set_title(labels.cell(where))
        lower.stairs(finding.arrays["jumps"][selected[at]], edge + 1, fill=True, color=style.ORANGE)
        lower.set(xlabel="step + 1")
        lower.yaxis.get_major_locator().set_params(integer=True)
        style.plain_ticks(lower)
    grid[0, 0].set_ylabel("$D_i$")
    grid[1, 0].set_ylabel("jumps")
    numbers = finding.numbers
    caption = (
        "Dimensionality of each represented feature of a selected model, and how many jump (D_i "
        "changes by more than 0.1) in each of up to 50 windows of equally many steps. "
        "Represented features spend "
        f"{100 * (numbers['sticky_time'] or 0):.0f} % of the time at sticky values, "
        f"{100 * (numbers['half_time'] or 0):.0f} % at 1/2; jumps and falls of the loss correlate "
        f"with {labels.number(numbers['jump_correlation'], 2)}."
    )
    return Drawing("dimensionality", caption, figure)


def step_edges(finding: Finding) -> np.ndarray:
    """Return the steps between which jumps are counted, [windows + 1]."""
    return finding.arrays["step"][finding.arrays["edge"]]
