"""What a rotation of the hidden space costs."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

LINES = 7


def rotation(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the loss ratio over the angle of a rotation, and its mean over random rotations."""
    arrays, rows = finding.arrays, finding.rows
    names = [labels.cell(results.plan.assignment(int(cell))) for cell in arrays["cell"]]
    figure, grid = style.grid(1, 2, (3.6, 3.4))
    left, right = grid.flat
    for line, at in enumerate(panels.spread(len(names), LINES)):
        left.plot(arrays["angle"], arrays["curve"][at], color=style.CYCLE[line], label=names[at])
    left.set(xlabel="angle of rotation (degrees)", ylabel="loss / loss of the model", yscale="log")
    left.set_xticks([0, 90, 180, 270, 360])
    figure.legend(loc="outside upper center", ncols=2)
    place = np.arange(len(rows))
    for key, marker, colour, label in (
        ("rotation_ratio", "o", style.VERMILION, "taken in by both matrices"),
        ("unabsorbed_ratio", "s", style.MUTED, "of h alone (control)"),
    ):
        values = np.array([row[key] for row in rows], float)
        right.plot(values, place, marker, color=colour, label=label)
    right.axvline(1, color=style.BLACK, linewidth=0.8, linestyle=":")
    right.set_yticks(place, names, fontsize=7)
    right.invert_yaxis()
    right.set(xlabel="mean ratio over 16 random rotations", xscale="log")
    right.legend(fontsize=7, loc="upper right")
    gap, least = finding.numbers["rotation_gap_linear"], finding.numbers["rotation_ratio_relu"]
    caption = (
        "Loss after a rotation of the hidden space by that before it. Both matrices take the "
        "rotation in, so that without a hidden nonlinearity nothing changes"
        + (f" (largest deviation {gap:.1g})" if gap is not None else "")
        + "; with one its basis is privileged"
        + (f": the loss rises at least {least:.3g}-fold." if least is not None else ".")
    )
    return [Drawing("rotation", caption, figure)]
