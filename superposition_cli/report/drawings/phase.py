"""Maps of what becomes of the last feature, trained beside theory; and the slope of the loss."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from superposition_cli.analyses.findings import Finding
from superposition_cli.report import labels, style
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

# undecided (-1) and the classes of `phases.Fate`
CLASSES = {
    -1: ("undecided", "#ffffff"),
    0: ("ignored", "#c9c9c9"),
    1: ("in superposition", style.ORANGE),
    2: ("dedicated dimension", style.BLUE),
}
TITLES = {
    "class_trained": "trained",
    "class_best": "best of each cell",
    "class_exact": "exact optimum",
    "class_closed": "closed forms",
}


LINES = {"boundary_closed": "boundary, closed forms", "boundary": "boundary, trained"}


def phase(finding: Finding, results: Results) -> list[Drawing]:
    """Draw the class maps, the loss by that of the closed forms, and the loss over p."""
    found = [classes(finding), loss(finding)]
    if min(finding.arrays["ratio"].shape) > 1:
        found.insert(1, ratio(finding))
    return found


class Map(NamedTuple):
    """One class map: what it is of, and its own axes."""

    title: str
    p: np.ndarray  # [P]
    r: np.ndarray  # [R]
    fate: np.ndarray  # [P, R]


def maps(arrays: Mapping[str, np.ndarray]) -> list[Map]:
    """Return the class maps there are; the best models only if not the trained ones.

    The exact optimum may have been searched at some of the points only.
    """
    same = np.array_equal(arrays["class_best"], arrays["class_trained"])
    drawn = []
    for name, title in TITLES.items():
        if name in arrays and not (same and name == "class_best"):
            which = "_exact" if name == "class_exact" else ""
            drawn.append(Map(title, arrays[f"p{which}"], arrays[f"r{which}"], arrays[name]))
    return drawn


def classes(finding: Finding) -> Drawing:
    """Draw what becomes of the last feature over p and r, by training and by theory."""
    arrays, numbers = finding.arrays, dict[str, Any](finding.numbers)
    shown, exact = maps(arrays), "boundary_exact" in numbers
    figure, axes = style.grid(1, len(shown), (2.8, 3.2), sharex=True, sharey=True)
    how = style.classes(tuple(colour for _, colour in CLASSES.values()))
    for diagram, ax in zip(shown, axes[0], strict=True):
        style.heat_map(ax, diagram.p, diagram.r, diagram.fate.T + 1, **how)
        _boundaries(ax, arrays)
        ax.set_title(diagram.title)
    _name_axes(axes[0])
    there = np.unique(np.concatenate([diagram.fate.ravel() for diagram in shown]))
    named = [CLASSES[int(code)] for code in there]
    keys: list[Artist] = [
        Patch(facecolor=fill, edgecolor=style.MUTED, label=word) for word, fill in named
    ]
    keys += [Line2D([], [], **_line(name), label=word) for name, word in LINES.items()]
    figure.legend(handles=keys, loc="outside upper center", ncols=min(len(keys), 3))
    caption = (
        "What becomes of the last feature, and up to which p it is in superposition (lines). "
        f"Trained and closed-form classes agree in {100 * numbers['class_agreement']:.1f} % of "
        f"{numbers['cells']:,} cells. At the r nearest to 1 superposition ends at "
        f"p = {labels.number(numbers['boundary'])} as trained, "
        f"{labels.number(numbers['boundary_closed'])} in closed form"
        + (f", {labels.number(numbers['boundary_exact'])} at the exact optimum." if exact else ".")
    )
    return Drawing("classes", caption, figure)


def ratio(finding: Finding) -> Drawing:
    """Draw the trained loss by that of the best closed-form arrangement."""
    arrays, numbers = finding.arrays, dict[str, object](finding.numbers)
    figure, axes = style.grid(1, 1, (4.2, 3.2))
    reach = float(np.nanmax(np.abs(arrays["ratio"] - 1))) or 1.0
    how = {"cmap": style.DIVERGING, "vmin": 1 - reach, "vmax": 1 + reach}
    mesh = style.heat_map(axes[0, 0], arrays["p"], arrays["r"], arrays["ratio"].T, **how)
    figure.colorbar(mesh, ax=axes[0, 0], label="loss / closed form", aspect=25)
    _boundaries(axes[0, 0], arrays)
    _name_axes(axes[0])
    caption = (
        "Loss of the trained models by that of the best closed-form arrangement, "
        f"{numbers['ratio_least']:.3f} to {numbers['ratio_most']:.3f}. Below 1 training found "
        "more than the closed forms allow: they keep norms at 1 and biases at 0."
    )
    return Drawing("ratio", caption, figure)


def loss(finding: Finding) -> Drawing:
    """Draw the loss and its slope over p at the r nearest to 1, trained and in closed form."""
    arrays, numbers = finding.arrays, dict[str, object](finding.numbers)
    p, at = arrays["p"], int(np.abs(np.log(arrays["r"])).argmin())
    figure, axes = style.grid(1, 2, (2.9, 2.7), sharex=True)
    kinds = (("loss_closed", "closed forms", style.BLACK), ("loss", "trained", style.VERMILION))
    for name, label, colour in kinds:
        look = {"color": colour, "label": label, "linestyle": "-" if name == "loss" else "--"}
        axes[0, 0].plot(p, arrays[name][:, at], **look)
        middle, slope = (p[1:] + p[:-1]) / 2, np.diff(arrays[name][:, at]) / np.diff(p)
        axes[0, 1].plot(middle, slope, **look)
    axes[0, 0].set(ylabel="loss L")
    axes[0, 1].set(ylabel="slope dL/dp")
    if "loss_exact" in arrays:
        near = int(np.abs(np.log(arrays["r_exact"])).argmin())
        dots = {"color": style.BLUE, "label": "exact optimum", "markerfacecolor": "none"}
        axes[0, 0].plot(arrays["p_exact"], arrays["loss_exact"][:, near], "o", **dots)
    for ax in axes[0]:
        ax.axvline(numbers["boundary_closed"], color=style.MUTED, linewidth=0.8, linestyle=":")
        ax.set(xlabel="feature probability p", xlim=(0, 1))
    axes[0, 0].legend()
    caption = (
        f"Loss over p at r = {arrays['r'][at]:.3g}. At the dotted boundary the slope of the closed "
        f"forms falls by a factor {labels.number(numbers['slope_jump_closed'])}, a kink; as "
        f"trained by {labels.number(numbers['slope_jump'])}: norms and biases change smoothly."
    )
    return Drawing("loss", caption, figure)


def _boundaries(axes: Axes, arrays: Mapping[str, np.ndarray]) -> None:
    """Draw the boundaries of superposition."""
    ends = {"xlim": axes.get_xlim(), "ylim": axes.get_ylim()}
    for name in LINES:
        axes.plot(arrays[name], arrays["r"], **_line(name))
    axes.set(**ends)


def _line(name: str) -> dict[str, Any]:
    dashes = "-" if name == "boundary_closed" else "--"
    return {"color": style.BLACK, "linestyle": dashes, "linewidth": 1.2}


def _name_axes(row: np.ndarray) -> None:
    for ax in row:
        ax.set_xlabel("feature probability p")
        style.plain_ticks(ax, "x")
        style.plain_ticks(ax, "y")
    row[0].set_ylabel("importance r of the last feature")
