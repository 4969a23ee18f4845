"""Which sparse inputs come back, over the number of measurements."""

from typing import Any

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

TITLES = ("of either sign", "known to be non-negative")


def recovery(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the share of recovered inputs over m for every k, with the theory of the 50 % line."""
    arrays = finding.arrays
    figure, grid = style.grid(1, 2, (2.9, 2.9), sharex=True, sharey=True)
    for decoder, (ax, title) in enumerate(zip(grid.flat, TITLES, strict=True)):
        for i, k in enumerate(arrays["k"]):
            colour, label = style.CYCLE[i], f"k = {k}"
            ax.plot(arrays["m"], arrays["success"][decoder, i], "o-", color=colour, label=label)
            ax.axvline(arrays["theory"][decoder, i], color=colour, linestyle=":", linewidth=1.2)
        ax.axhline(0.5, color=style.FAINT, linewidth=0.8)
        ax.set(xlabel="measurements m", title=title, ylim=(-0.03, 1.03))
    grid.flat[0].set_ylabel("share recovered")
    grid.flat[1].legend()
    rows = [dict[str, Any](row) for row in finding.rows]
    off = [abs(row["m_50"] - row["theory"]) for row in rows if row["m_50"] is not None]
    caption = (
        "Share of inputs with k active features that l1 minimisation recovers from m random "
        "measurements. Dotted: the statistical dimension, where theory puts the half-way point"
        + (f"; observed within {max(off):.1f} measurements of it." if off else ".")
    )
    return [Drawing("recovery", caption, figure)]
