"""What an attack costs, beside the features that share a dimension."""

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results


def adversarial(finding: Finding, results: Results) -> list[Drawing]:
    """Draw V / λ² and 1/D* over 1/p, and one against the other."""
    arrays, numbers = finding.arrays, dict[str, object](finding.numbers)
    cost, shared = arrays["vulnerability_scaled"], arrays["features_per_dimension"]
    figure, grid = style.grid(1, 2, (2.9, 2.9))
    over, against = grid.flat
    over.plot(1 / arrays["p"], cost, "o-", color=style.VERMILION, label="vulnerability $V/λ^2$")
    over.plot(1 / arrays["p"], shared, "s--", color=style.BLUE, label="features/dim. $1/D^*$")
    over.set(xlabel="sparsity, 1/p", ylabel="$V/λ^2$ and $1/D^*$", ylim=(0, None))
    over.set_xscale(style.scale_of(1 / arrays["p"]))
    style.plain_ticks(over)
    over.legend(loc="upper left")
    against.plot(shared, cost, "o", color=style.VERMILION)
    against.set(xlabel="features per dimension, $1/D^*$", ylabel="vulnerability $V/λ^2$")
    against.set(xlim=(0, None), ylim=(0, None))
    known = numbers["pearson"]
    caption = (
        "What the worst small push on an input costs (V, by the square of its length λ) beside "
        "the features that share a dimension. "
        + (f"Their correlation is {known:.3f}. " if known is not None else "")
        + f"At most the cost is {numbers['ratio_most'] or 0:.3g} times that of the densest data."
    )
    return [Drawing("vulnerability", caption, figure)]
