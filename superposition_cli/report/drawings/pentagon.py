"""Where two digons become better than the pentagon, and how both branches deform."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import panels, style
from superposition_cli.report.panels import Panel
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

BRANCHES = (("pentagon", style.BLUE), ("two digons", style.ORANGE))  # in the arrays' order
COLUMNS = 5  # ratios of the figure of embeddings


def pentagon(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the losses of both branches over the ratio, and their embeddings."""
    return [losses(finding), embeddings(finding)]


def losses(finding: Finding) -> Drawing:
    """Draw the branches' losses of the lowest base, and the pentagon's by the digons' of all."""
    base, ratio, loss = (finding.arrays[name] for name in ("base", "ratio", "loss"))
    figure, grid = style.grid(1, 2, (3.1, 3.0), sharex=True)
    left, right = grid[0]
    lowest = base == base.min()
    for (name, colour), values in zip(BRANCHES, loss[lowest].T, strict=True):
        left.plot(ratio[lowest], values, "o-", color=colour, label=name)
    left.set(ylabel="loss of the best model")
    left.legend()
    for one, colour in zip(np.unique(base), style.CYCLE, strict=False):
        on = base == one
        right.plot(ratio[on], loss[on, 0] / loss[on, 1], "o-", color=colour, label=f"{one:.3g}")
    right.axhline(1, color=style.MUTED, linewidth=0.8, linestyle=":")
    right.set(ylabel="loss of pentagon / digons")
    word = "p" if finding.numbers["perturbed"] == "feature_probability" else "importance"
    for ax in (left, right):
        _mark(ax, finding)
        ax.set(xscale="log", xlabel=f"{word} of the first feature / others")
        style.plain_ticks(ax)
    if finding.numbers["curves"] != 1:
        right.legend(title=f"{word} of the others")
    return Drawing("losses", _about(finding), figure)


def _mark(axes: Axes, finding: Finding) -> None:
    for name in ("crossing", "crossing_above"):
        at: Any = finding.numbers[name]
        if at is not None:
            axes.axvline(at, color=style.MUTED, linewidth=0.8, linestyle="--")


def _about(finding: Finding) -> str:
    numbers = finding.numbers
    crossing = numbers["crossing"]
    where = "nowhere in this sweep" if crossing is None else f"at a ratio of {crossing:.3g}"
    ending = ""
    if numbers["curves"] != 1 and numbers["crossing_highest_base"] is not None:
        ending = f" For the highest base it is {numbers['crossing_highest_base']:.3g}."
    return (
        "The best model of either branch, the first feature different from the other four. The "
        f"better branch changes {where} (dashed): the loss has a kink there, the embedding a "
        f"jump.{ending}"
    )


def embeddings(finding: Finding) -> Drawing:
    """Draw both branches at some ratios of the lowest base, the first feature marked."""
    base, ratio, W = (finding.arrays[name] for name in ("base", "ratio", "W"))
    loss = finding.arrays["loss"]
    on = np.flatnonzero(base == base.min())
    some = [int(on[i]) for i in panels.spread(len(on), COLUMNS)]
    shown = [
        Panel(row, column, at, f"ratio {ratio[at]:.3g}" if row == 0 else "")
        for row in range(len(BRANCHES))
        for column, at in enumerate(some)
    ]
    figure, axes = panels.sheet(shown, 1.25)
    reach = 1.1 * max(1.0, float(np.nanmax(np.linalg.norm(W[some], axis=-1))))
    better = np.nanargmin(np.where(np.isfinite(loss), loss, np.inf), axis=1)
    for panel, ax in zip(shown, axes, strict=True):
        panels.bare(ax)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        if panel.column == 0:
            ax.set_ylabel(BRANCHES[panel.row][0])
        vectors, colour = W[panel.at, panel.row], BRANCHES[panel.row][1]
        if not np.isfinite(vectors).all():
            ax.text(0, 0, "no model", ha="center", va="center", color=style.MUTED, fontsize=8)
            continue
        best = better[panel.at] == panel.row
        for i, (x, y) in enumerate(vectors):
            shade = style.BLACK if i == 0 else colour
            ax.plot([0, x], [0, y], color=shade, alpha=1 if best else 0.35)
            ax.plot([x], [y], "o", color=shade, alpha=1 if best else 0.35)
    caption = (
        "Embeddings of both branches, turned so that the first represented feature points to the "
        "right; black: the feature that is different. The branch of lower loss is drawn solid."
    )
    return Drawing("embeddings", caption, figure)
