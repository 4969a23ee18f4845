"""How far rotated trainings drift apart."""

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

LINES = 7


def equivariance(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the relative error over the steps, a line for each cell."""
    step, error = finding.arrays["step"], finding.arrays["error"]
    figure, grid = style.grid(1, 1, (4.4, 3.1))
    (ax,) = grid.flat
    shown = panels.spread(len(error), LINES)
    for line, cell in enumerate(shown):
        label = labels.cell(results.plan.assignment(cell))
        ax.plot(step + 1, error[cell], color=style.CYCLE[line], label=label)
    ax.set(xlabel="training steps", ylabel="relative error", xscale="log", yscale="log")
    ax.legend()
    ends = [float(error[cell, -1]) for cell in shown]
    caption = (
        "Distance between a training that began rotated and the rotation of the one that did not, "
        f"on the same batches. At the end it is {min(ends):.1g} to {max(ends):.1g} of the length "
        "of W: gradient descent does not know the basis, Adam does."
    )
    return [Drawing("equivariance", caption, figure)]
