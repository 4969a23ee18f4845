"""What sparse autoencoders recover, over the price of sparsity."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results


def dictionary(finding: Finding, results: Results) -> list[Drawing]:
    """Draw mmcs, FVU and L0 of every restart over l1, a colour for each width."""
    arrays = finding.arrays
    rows = [dict[str, object](row) for row in finding.rows]
    figure, grid = style.grid(1, 3, (2.6, 2.8), sharex=True)
    l1 = arrays["l1"]
    for index, latents in enumerate(arrays["latents"]):
        colour = style.CYCLE[index]
        for ax, name in zip(grid.flat, ("mmcs", "fvu", "l0"), strict=True):
            values = arrays[name][0, index]
            ax.plot(l1, values, ".", color=colour, alpha=0.5)
            best = values.max(1) if name == "mmcs" else np.median(values, axis=1)
            ax.plot(l1, best, "-", color=colour, label=f"{latents} latents")
        baseline = float(arrays["random_mmcs"][0, index])
        grid.flat[0].axhline(baseline, color=colour, linestyle=":", linewidth=1)
    mmcs, fvu, l0 = grid.flat
    mmcs.set(ylabel="mean max cosine (best)", ylim=(0.4, 1.02))
    fvu.set(ylabel="variance unexplained", ylim=(0, None))
    l0.axhline(rows[0]["expected_l0"], color=style.BLACK, linestyle="--", linewidth=0.9)
    l0.set(ylabel="active latents, L0", ylim=(0, None))
    for ax in grid.flat:
        ax.set(xlabel="price of sparsity, l1", xscale="log")
        ax.set_xticks(l1, [f"{one:g}" for one in l1])
        ax.minorticks_off()
    figure.legend(*mmcs.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    numbers = finding.numbers
    caption = (
        "Autoencoders on the hidden vectors of the first cell, a dot for each restart. Left: how "
        "well features are found (dotted: random dictionaries of the same size); at best "
        f"{numbers['mmcs_best']:.3f}. Right: latents active at once, the dashed line being the "
        "features active at once."
    )
    return [Drawing("recovery", caption, figure)]
