"""Feature directions, Gram matrices with biases, and norms coloured by superposition."""

from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import panels, style
from superposition_cli.report.panels import Panel
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

TURN, LIFT = np.radians(35), np.radians(20)  # from where space is seen
SIDE = np.array(  # to the right, up, and towards the eye
    [
        [-np.sin(TURN), -np.sin(LIFT) * np.cos(TURN), np.cos(LIFT) * np.cos(TURN)],
        [np.cos(TURN), -np.sin(LIFT) * np.sin(TURN), np.cos(LIFT) * np.sin(TURN)],
        [0.0, np.cos(LIFT), np.sin(LIFT)],
    ]
)
BLANK, GAP = 0.03, 0.06  # share of the features: beside a Gram matrix, and width of its bias


def structure(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the embeddings of some cells: directions for m of 2 or 3, W Wᵀ and b, and norms."""
    if "W" not in finding.arrays:
        return []
    shown = panels.of_cells(results, finding.arrays["cell"])
    some = panels.some_of(shown, len(finding.rows))
    to_see = finding.arrays["W"].shape[2] in (2, 3)
    drawn = [directions, gram, norms] if to_see else [gram, norms]
    made = [draw(finding, shown) for draw in drawn]
    return [one._replace(caption=one.caption + some) for one in made]


def directions(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw each W_i in the plane, or in space seen from one side, importance as its colour."""
    W, importance = finding.arrays["W"], finding.arrays["importance"]
    dimensions = W.shape[2]
    depth = np.zeros(W.shape[:2])
    if dimensions == 3:
        seen = W @ SIDE
        W, depth = seen[..., :2], seen[..., 2]
    figure, axes = panels.sheet(shown)
    reach = 1.15 * max(1.0, float(np.linalg.norm(W[[p.at for p in shown]], axis=2).max()))
    scale = ScalarMappable(Normalize(importance.min(), importance.max()), "viridis_r")
    equal = importance.min() == importance.max()
    turn = np.linspace(0, 2 * np.pi, 181)
    for panel, ax in zip(shown, axes, strict=True):
        ax.plot(np.cos(turn), np.sin(turn), color=style.FAINT, linewidth=0.8, zorder=0)
        for i in np.argsort(depth[panel.at], kind="stable"):  # what is near covers what is far
            (x, y), weight = W[panel.at, i], importance[panel.at, i]
            colour = style.BLUE if equal else scale.to_rgba(weight)
            ax.plot([0, x], [0, y], color=colour)
            ax.plot([x], [y], "o", color=colour, markersize=5 + 2 * depth[panel.at, i])
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        panels.bare(ax)
    if not equal:
        figure.colorbar(scale, ax=axes, label="importance", shrink=0.8, aspect=25)
    words = [f"{panel.title}: {finding.rows[panel.at]['structure']}" for panel in shown]
    where = "the plane" if dimensions == 2 else "space, larger dots nearer"
    alone = f"They form {finding.rows[0]['structure']}."
    ends = f"From the first to the last cell: {words[0]}; {words[-1]}."
    caption = f"Feature vectors W_i in {where}; the circle has length 1. "
    return Drawing("directions", caption + (ends if len(words) > 1 else alone), figure)


def gram(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw W Wᵀ of each cell, and the bias b as a strip at its right."""
    W, b = finding.arrays["W"], finding.arrays["b"]
    n = W.shape[1]
    figure, axes = panels.sheet(shown)
    how: dict[str, Any] = {
        "cmap": style.DIVERGING,
        "vmin": -1,
        "vmax": 1,
        "interpolation": "nearest",
    }
    left, right = n - 0.5 + max(0.3, BLANK * n), n - 0.5 + max(1.3, (BLANK + GAP) * n)
    for panel, ax in zip(shown, axes, strict=True):
        ax.imshow(b[panel.at][:, None], extent=(left, right, n - 0.5, -0.5), **how)
        image = ax.imshow(W[panel.at] @ W[panel.at].T, **how)
        ax.set(xlim=(-0.5, right), ylim=(n - 0.5, -0.5), aspect="equal")
        panels.bare(ax)
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
    figure, axes = panels.sheet(shown)
    scale = ScalarMappable(Normalize(0, 1), style.SEQUENTIAL)
    features = np.arange(length.shape[1])
    for panel, ax in zip(shown, axes, strict=True):
        colours = scale.to_rgba(np.clip(crossed[panel.at], 0, 1))
        thick = 0.8 if len(features) <= 30 else 1.0
        ax.barh(features, length[panel.at], height=thick, color=colours)
        ax.set(xlim=(0, max(1.2, 1.05 * length.max())), ylim=(len(features) - 0.5, -0.5))
        ax.set(xticks=[0, 1], yticks=[])
        ax.axvline(1, color=style.MUTED, linewidth=0.6, linestyle=":")
        ax.label_outer()
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
