"""Feature directions, Gram matrices with biases, and norms coloured by superposition."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from superposition_cli.findings import Finding
from superposition_cli.report import labels, style
from superposition_cli.report.style import Drawing
from superposition_cli.results import Results

ACROSS, DOWN = 4, 3  # panels of one figure: more would be too small at half width
SIDE = 1.55  # of a panel, inches
BLANK, GAP = 0.03, 0.06  # share of the features: beside a Gram matrix, and width of its bias


class Panel(NamedTuple):
    """One cell in a figure: its place, its index in the finding, and its title."""

    row: int
    column: int
    at: int
    title: str


def structure(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the embeddings of some cells: directions in the plane, W Wᵀ and b, and norms."""
    if "W" not in finding.arrays:
        return []
    shown = panels(finding, results)
    left_out = len(shown) < len(finding.rows)
    some = f" Shown: {len(shown)} of {len(finding.rows)} cells." if left_out else ""
    planar = finding.arrays["W"].shape[2] == 2
    drawn = [directions, gram, norms] if planar else [gram, norms]
    made = [draw(finding, shown) for draw in drawn]
    return [one._replace(caption=one.caption + some) for one in made]


def panels(finding: Finding, results: Results) -> list[Panel]:
    """Choose cells evenly over the grid and lay them out, the last of several axes across."""
    place = {int(cell): index for index, cell in enumerate(finding.arrays["cell"])}
    lengths = [axis.length for axis in results.plan.experiment.axes]
    width = lengths[-1] if len(lengths) > 1 else 0
    if width:
        rows, columns = _spread(int(np.prod(lengths[:-1])), DOWN), _spread(width, ACROSS)
        cells = [(i, j, r * width + c) for i, r in enumerate(rows) for j, c in enumerate(columns)]
    else:
        some = _spread(results.plan.experiment.n_cells, 2 * ACROSS)
        across = -(-len(some) // -(-len(some) // ACROSS))
        cells = [(*divmod(i, across), cell) for i, cell in enumerate(some)]
    return [
        Panel(i, j, place[cell], labels.cell(results.plan.assignment(cell)))
        for i, j, cell in cells
        if cell in place
    ]


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, the first and the last among them."""
    return [int(one) for one in np.unique(np.linspace(0, count - 1, min(count, most)).round())]


def _sheet(shown: list[Panel], side: float = SIDE) -> tuple[Figure, list[Axes]]:
    """Return a figure and the axes of the panels, titled; other places stay empty."""
    rows, columns = max(one.row for one in shown) + 1, max(one.column for one in shown) + 1
    figure, axes = style.grid(rows, columns, (side, side + 0.15))
    for one in axes.flat:
        one.set_axis_off()
    found = [axes[one.row, one.column] for one in shown]
    for panel, own in zip(shown, found, strict=True):
        own.set_axis_on()
        own.set_title(panel.title.replace(", ", "\n"), fontsize=9)
    return figure, found


def directions(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw each W_i as an arrow in the plane, importance as its colour."""
    W, importance = finding.arrays["W"], finding.arrays["importance"]
    figure, axes = _sheet(shown)
    reach = 1.15 * max(1.0, float(np.linalg.norm(W[[p.at for p in shown]], axis=2).max()))
    scale = ScalarMappable(Normalize(importance.min(), importance.max()), "viridis_r")
    equal = importance.min() == importance.max()
    turn = np.linspace(0, 2 * np.pi, 181)
    for panel, own in zip(shown, axes, strict=True):
        own.plot(np.cos(turn), np.sin(turn), color=style.FAINT, linewidth=0.8, zorder=0)
        for (x, y), weight in zip(W[panel.at], importance[panel.at], strict=True):
            colour = style.BLUE if equal else scale.to_rgba(weight)
            own.plot([0, x], [0, y], color=colour)
            own.plot([x], [y], "o", color=colour, markersize=5)
        own.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal", xticks=[], yticks=[])
        own.spines[:].set_visible(False)
    if not equal:
        figure.colorbar(scale, ax=axes, label="importance", shrink=0.8, aspect=25)
    words = [f"{panel.title}: {finding.rows[panel.at]['structure']}" for panel in shown]
    caption = (
        "Feature vectors W_i in the plane; the circle has length 1. "
        f"From the first to the last cell: {words[0]}; {words[-1]}."
    )
    return Drawing("directions", caption, figure)


def gram(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw W Wᵀ of each cell, and the bias b as a strip at its right."""
    W, b = finding.arrays["W"], finding.arrays["b"]
    n = W.shape[1]
    figure, axes = _sheet(shown)
    how: dict[str, Any] = {
        "cmap": style.DIVERGING,
        "vmin": -1,
        "vmax": 1,
        "interpolation": "nearest",
    }
    left, right = n - 0.5 + max(0.3, BLANK * n), n - 0.5 + max(1.3, (BLANK + GAP) * n)
    for panel, own in zip(shown, axes, strict=True):
        own.imshow(b[panel.at][:, None], extent=(left, right, n - 0.5, -0.5), **how)
        image = own.imshow(W[panel.at] @ W[panel.at].T, **how)
        own.set(xlim=(-0.5, right), ylim=(n - 0.5, -0.5), xticks=[], yticks=[], aspect="equal")
        own.spines[:].set_visible(False)
    figure.colorbar(
        image, ax=axes, shrink=0.8, aspect=25, extend="both", label="$W_i\\cdot W_j,\\ b_i$"
    )
    caption = (
        "W Wᵀ with features in their order from the top left, and the bias b as the strip at its "
        "right. A represented feature has 1 on the diagonal; what is off the diagonal is "
        "interference."
    )
    return Drawing("gram", caption, figure)


def norms(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw ‖W_i‖ as bars, superposition as their colour."""
    length = np.linalg.norm(finding.arrays["W"], axis=2)
    crossed = finding.arrays["superposition"]
    figure, axes = _sheet(shown)
    scale = ScalarMappable(Normalize(0, 1), style.SEQUENTIAL)
    features = np.arange(length.shape[1])
    for panel, own in zip(shown, axes, strict=True):
        colours = scale.to_rgba(np.clip(crossed[panel.at], 0, 1))
        thick = 0.8 if len(features) <= 30 else 1.0
        own.barh(features, length[panel.at], height=thick, color=colours)
        own.set(xlim=(0, max(1.2, 1.05 * length.max())), ylim=(len(features) - 0.5, -0.5))
        own.set(xticks=[0, 1], yticks=[])
        own.axvline(1, color=style.MUTED, linewidth=0.6, linestyle=":")
        own.label_outer()
    figure.colorbar(scale, ax=axes, shrink=0.8, aspect=25, extend="max", label="superposition")
    figure.supxlabel("$\\Vert W_i\\Vert$", fontsize=10)
    figure.supylabel("feature", fontsize=10)
    represented = [finding.rows[panel.at]["represented"] for panel in shown]
    caption = (
        "Length of each feature's vector, the first feature on top; colour: superposition, the "
        "squared interference that it meets (0: a dimension of its own, 1: an antipodal pair). "
        f"Represented (‖W_i‖ > 1/2): {min(represented)} to {max(represented)} of "
        f"{len(features)} features in {finding.arrays['W'].shape[2]} dimensions."
    )
    return Drawing("norms", caption, figure)
