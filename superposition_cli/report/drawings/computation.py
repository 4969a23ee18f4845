"""What the neurons of abs models serve, as stacks of weights, and what is computed."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

STRONG = 0.5  # colours tell those features apart that have so large a weight somewhere
CELLS = 4  # one below the other


def computation(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the weights of every neuron by feature, and what is computed over the cells."""
    found = [neurons(finding, results)]
    return [*found, counts(finding)] if len(finding.rows) > 1 else found


def neurons(finding: Finding, results: Results) -> Drawing:
    """Stack |W_ik| of each neuron k, largest first, coloured by feature; widest neurons last."""
    W, cells = finding.arrays["W"], finding.arrays["cell"]
    shown = panels.spread(len(W), CELLS)
    size = (max(style.WIDTH, 0.12 * W.shape[2]), 1.5)
    figure, grid = style.grid(len(shown), 1, size, sharex=True)
    served = np.flatnonzero((np.abs(W) > STRONG).any(axis=(0, 2)))
    scale = ScalarMappable(Normalize(0, max(1, served.max(initial=0))), "viridis")
    for ax, at in zip(grid.flat, shown, strict=True):
        _stacks(ax, np.abs(W[at]), finding.arrays["features_per_neuron"][at], scale)
        ax.set_title(labels.cell(results.plan.assignment(int(cells[at]))), fontsize=9)
        ax.set_ylabel("$|W_{ik}|$")
    grid.flat[-1].set_xlabel("neuron k, by how many features it serves")
    figure.colorbar(scale, ax=list(grid.flat), label="feature i", aspect=30)
    share = [row["polysemantic_share"] for row in finding.rows]
    caption = (
        "Input weights of every neuron, its largest set to 1 and the output weights changed to "
        "match, one colour a feature. One block: a neuron for one feature. The share of "
        f"polysemantic neurons is {labels.percent(share[0])} in the first cell and "
        f"{labels.percent(share[-1])} in the last."
    )
    return Drawing("neurons", caption, figure)


def counts(finding: Finding) -> Drawing:
    """Draw how many features are computed, and the polysemantic share, over 1/p."""
    p = finding.arrays["p"]
    order = np.argsort(-p, kind="stable")
    n, m = finding.arrays["W"].shape[1:]
    x = 1 / p[order]
    figure, grid = style.grid(1, 2, (2.9, 2.7), sharex=True)
    left, right = grid.flat
    computed = np.array([finding.rows[i]["computed"] for i in order])
    left.plot(x, computed, "o-", color=style.BLUE)
    left.axhline(m / 2, color=style.MUTED, linestyle="--", linewidth=0.9)
    left.set(ylabel="features computed", ylim=(0, 1.15 * max(computed.max(), m / 2)))
    share = [finding.rows[i]["polysemantic_share"] for i in order]
    right.plot(x, np.array(share, float), "o-", color=style.VERMILION)
    right.set(ylabel="share of polysemantic neurons", ylim=(-0.03, 1.05))
    for ax in (left, right):
        ax.set(xlabel="sparsity, 1/p")
        ax.set_xscale(style.scale_of(x))
        style.plain_ticks(ax)
    caption = (
        f"Of {n} absolute values, {computed[0]} are computed with the densest inputs and at most "
        f"{computed.max()}: more than the {m / 2:g} (dashed) that two neurons each allow is "
        "computation in superposition. Sparse inputs leave no neuron to a single feature."
    )
    return Drawing("computed", caption, figure)


def _stacks(ax: Axes, size: np.ndarray, width: np.ndarray, scale: ScalarMappable) -> None:
    """Bars of one cell's neurons: size [n, m], width [m] the effective number of features."""
    place = np.argsort(np.where(np.isfinite(width), width, np.inf), kind="stable")
    for x, k in enumerate(place):
        inside = np.argsort(-size[:, k], kind="stable")
        inside = inside[size[inside, k] > 0.02]
        base = np.concatenate([[0], np.cumsum(size[inside, k])[:-1]])
        ax.bar(
            x, size[inside, k], 0.8, base, color=scale.to_rgba(inside), edgecolor="w", linewidth=0.2
        )
    ax.set_xlim(-0.7, len(place) - 0.3)
    ax.set_xticks([])
