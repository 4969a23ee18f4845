"""How features lie on neurons: stacks of weights, beside bases drawn at random."""

import numpy as np
from matplotlib import colormaps

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import panels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results


def basis(finding: Finding, results: Results) -> list[Drawing]:
    """Draw W_ik of every neuron by feature, and the features per neuron against a null."""
    return [neurons(finding, results), null(finding)]


def neurons(finding: Finding, results: Results) -> Drawing:
    """Stack the weights of each neuron, positive upwards, negative downwards, by feature."""
    W = finding.arrays["W"]
    shown = panels.of_cells(results, finding.arrays["cell"])
    figure, axes = panels.sheet(shown)
    colours = colormaps[style.SEQUENTIAL](np.linspace(0, 0.95, W.shape[1]))
    for panel, ax in zip(shown, axes, strict=True):
        weights = W[panel.at]
        for sign in (1, -1):
            part = np.maximum(sign * weights, 0)
            base = np.cumsum(part, axis=0) - part
            for i, colour in enumerate(colours):
                ax.bar(
                    np.arange(weights.shape[1]), sign * part[i], 0.8, sign * base[i], color=colour
                )
        ax.axhline(0, color=style.MUTED, linewidth=0.6)
        ax.set_xticks([])
    figure.supxlabel("neuron", fontsize=9)
    figure.supylabel("weights $W_{ik}$", fontsize=9)
    rows = finding.rows
    caption = (
        "Weights of each hidden neuron, one colour a feature (dark: the first). One block is a "
        "monosemantic neuron. Of the cells shown first and last, "
        f"{rows[shown[0].at]['serving_1']} and {rows[shown[-1].at]['serving_1']} neurons of "
        f"{W.shape[2]} serve one feature."
    )
    return Drawing("neurons", caption, figure)


def null(finding: Finding) -> Drawing:
    """Draw the mean features per neuron of each cell and of 64 rotations of its embedding."""
    arrays, rows = finding.arrays, finding.rows
    place = np.arange(len(rows))
    figure, grid = style.grid(1, 1, (style.WIDTH, 3.0))
    (ax,) = grid.flat
    turned = arrays["features_per_neuron_null"]
    at = np.broadcast_to(place[:, None], turned.shape)
    ax.plot(at.ravel(), turned.ravel(), ".", color=style.FAINT, label="rotated at random")
    means = np.array([row["features_per_neuron"] for row in rows], float)
    ax.plot(place, means, "o", color=style.BLUE, label="as trained")
    ax.axhline(1.5, color=style.MUTED, linestyle="--", linewidth=0.9)
    ax.set_xticks(place, [_name(row) for row in rows], rotation=45, ha="right", fontsize=8)
    ax.set(ylabel="features per neuron, mean", ylim=(0.8, None))
    figure.legend(loc="outside upper center", ncols=2)
    below = sum(row["alignment_above"] > 0.95 for row in rows)
    caption = (
        "Effective features per neuron beside the same embedding in bases drawn at random; below "
        "the dashed line neurons are monosemantic. A basis that differs from random ones is "
        f"privileged: in {below} of {len(rows)} cells features follow neurons more closely than "
        "in 95 % of the rotations."
    )
    return Drawing("null", caption, figure)


def _name(row: object) -> str:
    parts = dict(row)  # type: ignore[call-overload]
    axes = [
        f"{value:g}" if isinstance(value, float) else str(value)
        for key, value in parts.items()
        if "." in key
    ]
    return "\n".join(axes) or str(parts["kind"])
