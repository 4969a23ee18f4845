"""Tied features: directions, cosines within and between sets, and losses beside closed forms."""

import numpy as np

from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.report import panels, style
from superposition_cli.report.panels import Panel
from superposition_cli.report.style import Drawing
from superposition_cli.running.results import Results

FORMS = (
    ("loss_linear", "best linear model", style.MUTED, ":"),
    ("loss_digons", "digons", style.ORANGE, "--"),
    ("loss_collapsed", "collapsed sets", style.GREEN, "-."),
)


def sets(finding: Finding, results: Results) -> list[Drawing]:
    """Draw directions in the plane, cosines, and the loss over p where there is a sweep."""
    shown = panels.in_lines([_law(row) for row in finding.rows])
    some = panels.some_of(shown, len(finding.rows))
    found = [cosines(finding, shown)]
    if finding.arrays["W"].shape[2] == 2:
        found.insert(0, directions(finding, shown))
    found = [one._replace(caption=one.caption + some) for one in found]
    along_p = len(finding.rows) > 2 and all(row["p"] is not None for row in finding.rows)
    return [*found, loss(finding)] if along_p else found


def _law(row: Row) -> str:
    """How probable the sets of a cell are, in few words."""
    return "unequal p" if row["p"] is None else f"p = {row['p']:.3g}"


def directions(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw each W_i as an arrow in the plane, a colour and a mark for each set."""
    W, owner = finding.arrays["W"], finding.arrays["set_of"]
    figure, axes = panels.sheet(shown)
    reach = 1.15 * max(1.0, float(np.linalg.norm(W, axis=2).max()))
    turn = np.linspace(0, 2 * np.pi, 181)
    for panel, ax in zip(shown, axes, strict=True):
        ax.plot(np.cos(turn), np.sin(turn), color=style.FAINT, linewidth=0.8, zorder=0)
        for (x, y), member in zip(W[panel.at], owner, strict=True):
            colour, mark = style.CYCLE[member % len(style.CYCLE)], "os^Dv"[member % 5]
            ax.plot([0, x], [0, y], color=colour)
            ax.plot([x], [y], mark, color=colour, markersize=6)
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
        panels.bare(ax)
    first, last = finding.rows[0], finding.rows[-1]
    caption = (
        "Feature vectors in the plane; features of one set share colour and mark. Of "
        f"{finding.numbers['n_sets']} sets {first['n_collapsed']} lie on one ray at "
        f"{_law(first)} and {last['n_collapsed']} at {_law(last)}."
    )
    return Drawing("directions", caption, figure)


def cosines(finding: Finding, shown: list[Panel]) -> Drawing:
    """Draw the cosine of every two features, sets next to each other between lines."""
    values, owner = finding.arrays["cosines"], finding.arrays["set_of"]
    order = np.argsort(owner, kind="stable")
    borders = np.flatnonzero(np.diff(owner[order])) + 0.5
    figure, axes = panels.sheet(shown)
    for panel, ax in zip(shown, axes, strict=True):
        image = ax.imshow(
            values[panel.at][np.ix_(order, order)],
            cmap=style.DIVERGING,
            vmin=-1,
            vmax=1,
            interpolation="nearest",
        )
        for at in borders:
            ax.axhline(at, color=style.INK, linewidth=0.8)
            ax.axvline(at, color=style.INK, linewidth=0.8)
        panels.bare(ax)
    figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label="cosine")
    within, between = (
        [row[f"{kind}_rms"] for row in finding.rows if row[f"{kind}_rms"] is not None]
        for kind in ("within", "between")
    )
    caption = (
        "Cosines of every two features; lines part the sets. Root mean square within a set "
        f"{_range(within)}, between sets {_range(between)}."
    )
    return Drawing("cosines", caption, figure)


def loss(finding: Finding) -> Drawing:
    """Draw the loss over p beside what closed-form arrangements cost, and collapsed sets."""
    arrays = finding.arrays
    figure, grid = style.grid(2, 1, (style.WIDTH, 2.2), sharex=True)
    upper, lower = grid[:, 0]
    upper.plot(arrays["p"], arrays["loss"], "o-", color=style.BLUE, label="trained")
    for name, label, colour, dashes in FORMS:
        if np.isfinite(arrays[name]).any() and np.nanmax(arrays[name]) > 0:
            upper.plot(arrays["p"], arrays[name], color=colour, linestyle=dashes, label=label)
    upper.set(ylabel="loss", yscale="log" if np.nanmin(arrays["loss"]) > 0 else "linear")
    upper.legend()
    lower.plot(arrays["p"], arrays["n_collapsed"], "o-", color=style.BLUE)
    lower.set(ylabel="collapsed sets", xlabel="p of a set")
    lower.set_ylim(-0.2, float(finding.numbers["n_sets"] or 0) + 0.2)
    lower.yaxis.get_major_locator().set_params(integer=True)
    lower.set_xscale(style.scale_of(arrays["p"]))
    boundary = finding.numbers["collapse_boundary"]
    for ax in (upper, lower) if boundary else ():
        ax.axvline(boundary, color=style.MUTED, linewidth=0.8, linestyle=":")
    style.plain_ticks(lower)
    where = f" Above p = {boundary:.3g} (dotted) digons cost more." if boundary else ""
    caption = (
        "Loss of the trained models beside closed forms of pure arrangements, and how many sets "
        f"lie on one ray.{where}"
    )
    return Drawing("loss", caption, figure)


def _range(values: list[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}" if values else "undefined"
