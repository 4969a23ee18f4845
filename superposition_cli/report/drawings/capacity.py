"""How capacity is divided among features, and what a feature costs beside its capacity."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

ROWS = 24  # cells of one map


def capacity(finding: Finding, results: Results) -> list[Drawing]:
    """Draw C_i of every feature cell by cell, and the cost of a feature over its C_i."""
    found = [allotment(finding, results)]
    cost = finding.arrays.get("cost")
    return [*found, costs(finding)] if cost is not None and np.isfinite(cost).any() else found


def allotment(finding: Finding, results: Results) -> Drawing:
    """Draw the capacity of every feature (across) in every cell (down) as a colour."""
    C, cells = finding.arrays["capacity"], finding.arrays["cell"]
    shown = panels.spread(len(C), ROWS)
    figure, grid = style.grid(1, 1, (style.WIDTH, 1.2 + 0.24 * len(shown)))
    (ax,) = grid.flat
    image = ax.imshow(C[shown], vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    names = [labels.cell(results.plan.assignment(int(cells[at]))) for at in shown]
    ax.set_yticks(range(len(shown)), names)
    ax.set_xlabel("feature i")
    ax.xaxis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=ax, label="capacity $C_i$", aspect=18)
    numbers = finding.numbers
    caption = (
        "Capacity of each feature, the share of a dimension it has to itself. Altogether the "
        f"features of a cell use {labels.percent(numbers['sum_share_least'])} to "
        f"{labels.percent(numbers['sum_share_most'])} of the hidden dimensions."
    )
    left_out = len(shown) < len(C)
    return Drawing(
        "allotment", caption + (f" Shown: {len(shown)} of {len(C)} cells." * left_out), figure
    )


def costs(finding: Finding) -> Drawing:
    """Draw E (x_i - y_i)² / σ_i² of every feature over its capacity, importance as colour."""
    C, cost = finding.arrays["capacity"], finding.arrays["cost"]
    importance = finding.arrays["importance"]
    figure, grid = style.grid(1, 1, (4.6, 3.3))
    (ax,) = grid.flat
    dots = ax.scatter(C.ravel(), cost.ravel(), c=importance.ravel(), s=12, cmap="viridis_r")
    ax.plot([0, 1], [1, 0], color=style.MUTED, linewidth=0.8, linestyle=":")
    if np.ptp(importance) > 0:
        figure.colorbar(dots, ax=ax, label="importance", aspect=25)
    ax.set(xlabel="capacity $C_i$", ylabel="cost: squared error / variance", xlim=(-0.03, 1.03))
    ax.set_ylim(-0.03, 1.05 * max(1.0, float(np.nanmax(cost))))
    caption = (
        "What every feature of every cell costs beside its capacity: 1 without, 0 with a "
        "dimension of its own. Below the dotted line 1 − C_i sharing a dimension pays."
    )
    return Drawing("cost", caption, figure)
