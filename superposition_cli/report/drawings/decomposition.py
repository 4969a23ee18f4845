"""The loss by cause: its terms during training, and what is left of each at the end."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

# in the order of the analysis' terms
TERMS = (
    ("benefit deficit", style.SKY),
    ("interference", style.VERMILION),
    ("bias", style.PURPLE),
    ("silence", style.ORANGE),
    ("pairs", style.GREEN),
    ("remainder", style.MUTED),
)
ROWS = 24  # cells of one figure
SMALLEST = 1e-4  # share of the loss at the first step below which a term is not drawn
SIDE = 2.0


def decomposition(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the terms over the steps of some cells, and their shares at the end in all."""
    return [training(finding, results), shares(finding, results)]


def training(finding: Finding, results: Results) -> Drawing:
    """Draw each term over the updates made so far, by the loss at initialisation."""
    terms, steps = finding.arrays["terms"], finding.arrays["steps"]
    shown = panels.of_cells(results, finding.arrays["cell"])
    figure, axes = panels.sheet(shown, SIDE)
    start = np.nansum(terms[:, 0], axis=1)
    for panel, ax in zip(shown, axes, strict=True):
        relative = terms[panel.at] / start[panel.at]
        for (name, colour), values in zip(TERMS, relative.T, strict=True):
            if np.isfinite(values).any():
                ax.plot(steps, values, color=colour, label=name)
        ax.set(xscale="symlog", yscale="log", ylim=(SMALLEST, 3))
        ax.set_xlim(0, steps[-1])
        ax.set_xticks([0, 10, 1000], ["0", "10", "1000"])
        ax.label_outer()
    used = {str(line.get_label()): line for ax in axes for line in ax.get_lines()}
    figure.legend(handles=list(used.values()), loc="outside upper center", ncols=3)
    figure.supxlabel("updates made so far", fontsize=10)
    figure.supylabel("term / loss at the start", fontsize=10)
    gap = finding.numbers["loss_gap_relu"]
    check = f" Terms of ReLU models add up to the loss within {gap:.2g} of it." if gap else ""
    caption = (
        "The loss by cause during training: features not reproduced (benefit deficit) against "
        "features that disturb others (interference, with one feature active; pairs and "
        "remainder, with two and more)."
    )
    return Drawing("training", caption + check + panels.some_of(shown, len(terms)), figure)


def shares(finding: Finding, results: Results) -> Drawing:
    """Draw the share of each term in the final loss, a bar for each cell."""
    terms, cells = finding.arrays["terms"][:, -1], finding.arrays["cell"]
    shown = panels.spread(len(terms), ROWS)
    part = np.nan_to_num(terms[shown]) / np.nansum(terms[shown], axis=1, keepdims=True)
    figure, grid = style.grid(1, 1, (style.WIDTH, 1.4 + 0.26 * len(shown)))
    (ax,) = grid.flat
    left = np.zeros(len(shown))
    for (name, colour), width in zip(TERMS, part.T, strict=True):
        if width.any():
            ax.barh(range(len(shown)), width, left=left, color=colour, label=name, height=0.8)
        left += width
    ax.set_yticks(
        range(len(shown)), [labels.cell(results.plan.assignment(int(cells[i]))) for i in shown]
    )
    ax.set(xlim=(0, 1), xlabel="share of the final loss", ylim=(len(shown) - 0.5, -0.5))
    figure.legend(loc="outside upper center", ncols=3)
    largest = max(row["interference_share"] or 0 for row in finding.rows)
    caption = (
        "What is left of the loss at the end, by cause. Interference is up to "
        f"{100 * largest:.0f} % of it."
    )
    left_out = f" Shown: {len(shown)} of {len(terms)} cells." if len(shown) < len(terms) else ""
    return Drawing("shares", caption + left_out, figure)
