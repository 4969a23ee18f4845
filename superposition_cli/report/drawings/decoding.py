"""What sparse decoders read out beside the model's own."""

import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

NAMES = {"model": "model", "sparse": "least sum, x ≥ 0", "lasso": "lasso, x ≥ 0", "omp": "OMP"}


def decoding(finding: Finding, results: Results) -> list[Drawing]:
    """Draw mean squared errors of all decoders, and exact recoveries, over 1/p."""
    arrays = finding.arrays
    order = np.argsort(-arrays["p"], kind="stable")
    x = 1 / arrays["p"][order]
    figure, grid = style.grid(1, 2, (2.9, 2.9), sharex=True)
    left, right = grid.flat
    for (name, label), colour in zip(NAMES.items(), style.CYCLE, strict=False):
        left.plot(x, arrays[f"mse_{name}"][order], "o-", color=colour, label=label)
    left.set(ylabel="mean squared error", yscale="log")
    left.legend()
    right.plot(x, arrays["exact_sparse"][order], "o-", color=style.VERMILION, label="trained")
    right.plot(x, arrays["exact_random"][order], "s--", color=style.MUTED, label="random")
    right.set(ylabel="inputs recovered exactly", ylim=(-0.03, 1.03))
    right.legend(title="embedding")
    for ax in (left, right):
        ax.set(xlabel="sparsity, 1/p")
        ax.set_xscale(style.scale_of(x))
        style.plain_ticks(ax)
    ratio = arrays["mse_sparse"][order] / arrays["mse_model"][order]
    caption = (
        "Errors of sparse decoders on the hidden vectors of trained models, beside the model's own "
        f"read-out: the solution of least sum has {ratio.min():.2g} to {ratio.max():.2g} times "
        "its error."
    )
    return [Drawing("decoding", caption, figure)]
