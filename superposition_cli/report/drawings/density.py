"""Dimensionality of dense and sparse features, and the interference they cause."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

MOST = 4  # cells side by side
WORDS = {
    "equal": "equal $I_i$",
    "inverse_variance": "equal $I_i\\,\\sigma_i^2$",
    "other": "other $I_i$",
}


def density(finding: Finding, results: Results) -> list[Drawing]:
    """Draw D_i above the interference each feature causes, a column for every cell."""
    count = len(finding.rows)
    some = np.unique(np.linspace(0, count - 1, min(count, MOST)).round().astype(int))
    shown = [finding.rows[at] for at in some]
    figure, grid = style.grid(2, len(some), (2.9, 2.1), sharex=True)
    for at, row, (upper, lower) in zip(some, shown, grid.T, strict=True):
        dense = finding.arrays["p"][at] == row["p_dense"]
        upper.set_title(WORDS[row["weighting"]])
        for ax, name in ((upper, "D"), (lower, "caused")):
            values = finding.arrays[name][at]
            for mask, group, colour in (
                (dense, "dense", style.VERMILION),
                (~dense, "sparse", style.BLUE),
            ):
                features = np.flatnonzero(mask)
                label = f"{group}, p = {row[f'p_{group}']:.3g}"
                ax.bar(features, values[mask], color=colour, label=label)
                ends = [features.min() - 0.5, features.max() + 0.5]
                ax.plot(ends, [row[f"{name}_{group}"]] * 2, color=style.INK, linewidth=1)
            ax.set_ylim(0, 1.08 * max(1e-9, float(finding.arrays[name][some].max())))
            ax.label_outer()
        lower.set(xlabel="feature", xticks=[])
    grid[0, 0].set_ylabel("dimensionality $D_i$")
    grid[1, 0].set_ylabel("interference caused")
    grid[1, -1].legend(loc="upper right")
    words = [
        f"{row['D_dense']:.2f} and {row['D_sparse']:.2f} ({row['weighting']})" for row in shown
    ]
    caption = (
        "Share of a dimension that each feature has (top) and the interference it causes to all "
        "others, weighted by how often it is active (bottom); lines are means of a group. Mean "
        f"D_i of dense and sparse features: {'; '.join(words)}."
    )
    return [Drawing("density", caption, figure)]
