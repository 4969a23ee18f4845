"""D* and D_i over sparsity, what polytopes gain per dimension, and feature graphs."""

from fractions import Fraction

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba

from superposition_cli.analyses.findings import Finding
from superposition_cli.measures import geometry
from superposition_cli.report import style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results
from superposition_cli.theory.phases import UNIFORM_POLYTOPES

STICKY = (1.0, 3 / 4, 2 / 3, 1 / 2, 2 / 5, 3 / 8, 1 / 3, 1 / 4)
GRAPHS = 3  # cells whose feature graph is drawn
DENSE = 0.5  # graphs are of cells with p up to here: beyond features are alone
SPACING = 2.7  # between the centres of two components, each of radius 1


def uniform(finding: Finding, results: Results) -> list[Drawing]:
    """Draw dimensionalities and benefits over 1 / p, and the graphs of some cells."""
    found = [dimensionality(finding), benefit(finding)]
    graphs = graph(finding, results)
    return [*found, graphs] if graphs else found


def dimensionality(finding: Finding) -> Drawing:
    """Draw D* as a line and every D_i as a dot over 1 / p, sticky values as lines."""
    x, D = 1 / finding.arrays["p"], finding.arrays["D"]
    figure, grid = style.grid()
    (ax,) = grid.flat
    for place, value in enumerate(STICKY):
        ax.axhline(value, color=style.FAINT, linewidth=0.8, zorder=0)
        right = 1.01 + 0.05 * (place % 2)  # 2/5 and 3/8 would be on one another
        how = {"xycoords": ("axes fraction", "data"), "va": "center"}
        text = str(Fraction(value).limit_denominator(8))
        ax.annotate(text, (right, value), fontsize=8, color=style.MUTED, **how)
    for at, values in zip(x, D, strict=True):
        kept = np.sort(values[np.isfinite(values)])
        spread = at * np.exp(0.06 * np.linspace(-1, 1, len(kept)))
        ax.plot(spread, kept, ".", color=style.SKY, markersize=3)
    ax.plot(x, finding.arrays["D_star"], "o-", color=style.BLUE, label="D* = m / ‖W‖²")
    ax.plot([], [], ".", color=style.SKY, label="D_i of each represented feature")
    ax.set(xscale="log", xlabel="1 / p = 1 / (1 − S)", ylabel="dimensions per feature")
    ax.set_ylim(0, 1.08)
    style.plain_ticks(ax)
    ax.legend(loc="upper right")
    first, last = finding.rows[0], finding.rows[-1]
    caption = (
        f"Dimensions per feature fall from {first['d_star']:.2f} at p = {1 / x[0]:.3g} to "
        f"{last['d_star']:.2f} at p = {1 / x[-1]:.3g}. Lines mark dimensionalities of regular "
        "arrangements (1/2: digon, 2/5: pentagon, 3/8: square antiprism, 2/3: triangle, "
        "3/4: tetrahedron); dots of a cell are in order of D_i."
    )
    return Drawing("dimensionality", caption, figure)


def benefit(finding: Finding) -> Drawing:
    """Draw what copies of each polytope save per dimension, over 1 / p."""
    x, curves = 1 / finding.arrays["p"], finding.arrays["benefit"]
    figure, grid = style.grid()
    (ax,) = grid.flat
    for name, curve, colour in zip(UNIFORM_POLYTOPES, curves, style.CYCLE, strict=False):
        ax.plot(x, curve, color=colour, label=name)
    best = curves.max(axis=0)
    ax.plot(x, best, "o", markerfacecolor="none", color=style.INK, label="best", zorder=0)
    ax.set(xscale="log", xlabel="1 / p = 1 / (1 − S)", ylabel="benefit per dimension")
    style.plain_ticks(ax)
    ax.legend(loc="upper left")
    changes = list(dict.fromkeys(row["best_polytope"] for row in finding.rows))
    caption = (
        "Variance saved per dimension filled with copies of one polytope, in theory (1: one "
        f"feature alone). The best from dense to sparse: {', '.join(changes)}."
    )
    return Drawing("benefit", caption, figure)


def graph(finding: Finding, results: Results) -> Drawing | None:
    """Draw which features interfere in some cells, component by component."""
    chosen = results.selected
    density = np.asarray(results.cells["feature_probability"], float)
    cells = [int(c) for c in np.argsort(-density, kind="stable") if int(c) in chosen]
    both = zip(cells, finding.rows, strict=True)
    sparse = [(c, row) for c, row in both if density[c] <= DENSE and row["represented"] > 1]
    sparse = [one for one in sparse if one[1]["components"] > 1] or sparse[:1]
    if not sparse:
        return None
    some = np.unique(np.linspace(0, len(sparse) - 1, min(GRAPHS, len(sparse))).round().astype(int))
    shown = [sparse[i] for i in some]
    figure, grid = style.grid(1, len(shown), (2.3, 2.5))
    for (cell, row), ax in zip(shown, grid.flat, strict=True):
        _draw_graph(ax, results.model(chosen[cell])["W"])
        ax.set_title(f"p = {density[cell]:.3g}\nD* = {row['d_star']:.2f}")
    words = [f"p = {density[cell]:.3g}: {row['structure']}" for cell, row in shown]
    caption = (
        "Represented features, joined where |W_i·W_j| > 0.1 (darker: more); unconnected parts "
        f"are orthogonal. {'; '.join(words)}."
    )
    return Drawing("graph", caption, figure)


def _draw_graph(axes: Axes, W: np.ndarray) -> None:
    """Draw the components of a feature graph on circles, the largest first, in a square."""
    features = geometry.feature_graph(W)
    place = {int(node): i for i, node in enumerate(features.nodes)}
    parts = sorted(geometry.components(features), key=len, reverse=True)
    side = max(1, int(np.ceil(np.sqrt(len(parts)))))
    at = np.zeros((len(features.nodes), 2))
    for number, part in enumerate(parts):
        row, column = divmod(number, side)
        turn = 2 * np.pi * np.arange(len(part)) / len(part) + np.pi / 2
        radius = 0.0 if len(part) == 1 else 1.0
        circle = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        at[[place[node] for node in part]] = circle + SPACING * np.array([column, -row])
    i, j = np.nonzero(np.triu(features.weights))
    ends = list(np.stack([at[i], at[j]], axis=1))
    colours = [to_rgba(style.BLUE, min(1.0, float(one))) for one in features.weights[i, j]]
    axes.add_collection(LineCollection(ends, colors=colours, linewidths=1))
    axes.plot(at[:, 0], at[:, 1], ".", color=style.INK, markersize=3)
    axes.set(aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.margins(0.05)
