"""Loss of additivity over sparsity, linear probes against theory, and interventions."""

import numpy as np

from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.report import labels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results
from superposition_cli.toy.metrics import REPRESENTED_NORM

PROBABILITY = "data.feature_probability"
ACROSS, MOST = 4, 8  # panels in a row and in all
SIDE = 1.55  # of a panel, inches
CLOSE = 0.03  # half the width of the band beside the diagonal


def linearity(finding: Finding, results: Results) -> list[Drawing]:
    """Draw what there is of curves over 1 / p, probes and responses."""
    names = [name for axis in results.plan.experiment.axes for name in axis.names]
    made = [additivity(finding, names)] if PROBABILITY in names else []
    if np.isfinite(finding.arrays["probe_expected"]).any():
        made.append(probes(finding))
    responses = response(finding, results)
    return [*made, responses] if responses else made


def curves(finding: Finding, names: list[str]) -> dict[str, list[Row]]:
    """Rows of equal settings but for the probability, in order of rising 1 / p."""
    found: dict[str, list[Row]] = {}
    for row in sorted(finding.rows, key=lambda one: -one[PROBABILITY]):
        others = {name: row[name] for name in names if name != PROBABILITY}
        found.setdefault(labels.cell(others), []).append(row)
    return found


def additivity(finding: Finding, names: list[str]) -> Drawing:
    """Draw the additivity gap with the negative share, and what the read-out leaves."""
    figure, grid = style.grid(1, 2, (style.WIDTH / 1.4, 3.2))
    left, right = grid.flat
    lines = curves(finding, names)
    for (label, rows), colour in zip(lines.items(), style.CYCLE, strict=False):
        x = [1 / row[PROBABILITY] for row in rows]
        left.plot(x, _column(rows, "additivity_gap"), "o-", color=colour, label=label or "gap")
        right.plot(x, _column(rows, "read_out_ratio"), "o-", color=colour)
        if all(row["probe_deviation"] is None for row in rows):
            negative = _column(rows, "negative_weights")
            left.plot(x, negative, "s:", color=colour, label="negative weights")
    right.axhline(1, color=style.MUTED, linewidth=0.8, linestyle="--")
    for ax in (left, right):
        ax.set(xscale="log", xlabel="1 / p = 1 / (1 − S)", ylim=(-0.02, 1.08))
        style.plain_ticks(ax)
    left.set(ylabel="gap, share", title="additivity gap")
    right.set(ylabel="loss / loss of linear read-out", title="gain by the model's read-out")
    left.legend(loc="upper left")
    return Drawing("additivity", _words_of_additivity(finding, lines), figure)


def _column(rows: list[Row], key: str) -> np.ndarray:
    return np.array([row[key] for row in rows], float)


def _words_of_additivity(finding: Finding, found: dict[str, list[Row]]) -> str:
    last = [(label, rows[-1]["additivity_gap"]) for label, rows in found.items()]
    words = ", ".join(f"{label} {gap:.2g}".strip() for label, gap in last)
    sparsest = min(row[PROBABILITY] for row in finding.rows)
    return (
        "Left: the additivity gap E‖h(x+y) − h(x) − h(y)‖² / E‖h(x+y)‖² is zero while the "
        "hidden layer is linear; with a ReLU on it the gap opens as weights become negative "
        f"(dotted: share of Σ W_ik²). At p = {sparsest:.3g} it is {words}. Right: the model's "
        "loss by that of the best linear read-out of the same h; below 1 the nonlinear "
        "read-out recovers features that share dimensions."
    )


def probes(finding: Finding) -> Drawing:
    """Draw R² of linear probes on held-out samples over the closed form."""
    expected, measured = finding.arrays["probe_expected"], finding.arrays["probe_r2"]
    known = np.isfinite(expected)
    figure, grid = style.grid(1, 1, (3.6, 3.4))
    (ax,) = grid.flat
    edge = np.array([0, 1])
    ax.fill_between(edge, edge - CLOSE, edge + CLOSE, color=style.FAINT, linewidth=0)
    ax.plot(edge, edge, color=style.MUTED, linewidth=0.8)
    ax.plot(expected[known], measured[known], ".", color=style.BLUE, alpha=0.6)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set(xlabel="R² in closed form", ylabel="R² of a linear probe")
    most = float(np.abs(measured - expected)[known].max())
    caption = (
        "How well a linear probe of h recovers each feature: least squares judged on held-out "
        "samples, against σ_i² W_iᵀ (WᵀΣW)⁺ W_i (the leverage, at equal variances). Largest "
        f"difference {most:.3f}; the band is ±{CLOSE}."
    )
    return Drawing("probes", caption, figure)


def response(finding: Finding, results: Results) -> Drawing | None:
    """Draw how outputs answer to each represented feature's vector, in some cells."""
    arrays = finding.arrays
    known = [at for at, row in enumerate(finding.rows) if row["represented"]]
    if not known:
        return None
    some = [known[i] for i in np.linspace(0, len(known) - 1, min(len(known), MOST)).astype(int)]
    rows = -(-len(some) // ACROSS)
    figure, grid = style.grid(rows, -(-len(some) // rows), (SIDE, SIDE + 0.25))
    how: dict[str, object] = {"cmap": style.DIVERGING, "vmin": -1, "vmax": 1}
    for ax in grid.flat[len(some) :]:
        ax.set_axis_off()
    for at, ax in zip(some, grid.flat, strict=False):
        kept = arrays["norms"][at] > REPRESENTED_NORM
        changed = arrays["response"][at][np.ix_(kept, kept)]
        image = ax.imshow(changed, interpolation="nearest", **how)
        ax.set(xticks=[], yticks=[])
        title = labels.cell(results.plan.assignment(int(arrays["cell"][at])))
        ax.set_title(title.replace(", ", "\n"), fontsize=9)
    figure.colorbar(image, ax=grid, shrink=0.8, aspect=25, extend="both", label="mean change")
    figure.supxlabel("output", fontsize=10)
    figure.supylabel("feature whose vector is added", fontsize=10)
    caption = (
        "Mean change of the outputs as W_i is added to the hidden activation, represented "
        "features only: on the diagonal a feature's own output, beside it red where another "
        "output rises too and blue where it is pushed down. Share of represented features "
        "whose own output rises most: at least "
        f"{100 * float(finding.numbers['steered_least'] or 0):.0f} % in every cell."
    )
    left_out = f" Shown: {len(some)} of {len(finding.rows)} cells."
    return Drawing("response", caption + left_out * (len(some) < len(finding.rows)), figure)
