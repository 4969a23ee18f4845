"""How close to orthogonal many directions are: coherence against Welch, tails against their law."""

from typing import Any

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

FEW_PAIRS = 100  # a share of fewer is mostly chance
TAILS = 5  # cells of one figure: as many as there are colours to tell apart


def directions(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the coherence of every cell's models beside theory, and the tails of |cos|."""
    return [coherence(finding), tails(finding)]


def coherence(finding: Finding) -> Drawing:
    """Draw the coherence of every model, the Welch bound and the median of random vectors."""
    arrays, rows = finding.arrays, [dict[str, Any](row) for row in finding.rows]
    place = np.arange(len(rows))
    figure, grid = style.grid(1, 1, (max(3.2, 1.2 + 0.7 * len(rows)), 3.2))
    (ax,) = grid.flat
    values = arrays["coherence"]
    across = np.broadcast_to(place[:, None], values.shape)
    ax.plot(across.ravel(), values.ravel(), ".", color=style.SKY, label="models")
    ax.plot(place, values.min(1), "o", color=style.BLUE, label="best of a cell")
    ax.plot(place, arrays["welch_bound"], "_", color=style.BLACK, markersize=18, label="Welch")
    random = [row["coherence_random"] for row in rows]
    ax.plot(place, random, "_", color=style.VERMILION, markersize=18, label="random, median")
    sizes = zip(arrays["count"], arrays["dimensions"], strict=True)
    ax.set_xticks(place, [f"{count}\nin {m}" for count, m in sizes])
    ax.set(xlabel="vectors in dimensions", ylabel="coherence, largest |cos|", ylim=(0, 1.02))
    ax.margins(x=0.08)
    figure.legend(loc="outside upper center", ncols=2)
    excess = min(row["coherence_best"] - row["welch_bound"] for row in rows)
    caption = (
        "Largest |cos| of two vectors. No set of vectors is below the black line (Welch bound); "
        f"the closest comes within {max(excess, 0):.2g} of it. Random vectors have the red line "
        "for their median."
    )
    return Drawing("coherence", caption, figure)


def tails(finding: Finding) -> Drawing:
    """Draw the share of pairs beyond every |cos|, observed and by the law of random vectors."""
    arrays = finding.arrays
    at = arrays["edges"][:-1]
    pairs = arrays["histogram"].sum(1, keepdims=True)
    observed = arrays["histogram"][:, ::-1].cumsum(1)[:, ::-1] / pairs
    figure, grid = style.grid(1, 1, (4.6, 3.2))
    (ax,) = grid.flat
    for index, cell in enumerate(panels.spread(len(observed), TAILS)):
        seen, colour = observed[cell] > 0, style.CYCLE[index]
        label = f"{arrays['count'][cell]} in {arrays['dimensions'][cell]}"
        ax.plot(at[seen], observed[cell][seen], color=colour, label=label)
        ax.plot(at, arrays["tail_exact"][cell], color=colour, linestyle=":", linewidth=1.2)
    ax.set(xlabel="|cos|", ylabel="share of pairs beyond it", yscale="log", xlim=(0, 1))
    ax.set_ylim(max(1e-7, 0.3 / pairs.max()), 1.5)
    ax.legend(title="vectors in dim.")
    ratios = [
        row["tail_ratio_0_3"]
        for row, count in zip(map(dict[str, Any], finding.rows), pairs[:, 0], strict=True)
        if row["tail_0_3"] * count >= FEW_PAIRS
    ]
    caption = (
        "How many pairs of vectors are further from orthogonal than |cos|. Solid: observed; "
        "dotted: the exact law of random directions."
    )
    if ratios:
        caption += (
            f" At |cos| = 0.3 they differ by a factor {min(ratios):.3g} to {max(ratios):.3g}."
        )
    return Drawing("tails", caption, figure)
