"""How figures look: colours, sizes and text; and how a figure becomes bytes.

Figures are made through matplotlib's objects, never through pyplot, which keeps a global
state and looks for a screen. The same figure gives the same bytes.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

FORMATS = ("png", "svg", "pdf")

# Okabe and Ito 2008: told apart with all common kinds of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
WIDTH = 5.6  # inches; at half the width of a page text is still of six points
DPI = 160
SALT = "superposition"  # names inside an SVG are made from it, not from chance

RC: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.prop_cycle": cycler(color=CYCLE),
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "image.cmap": SEQUENTIAL,
    "svg.hashsalt": SALT,
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


class Drawing(NamedTuple):
    """One figure of a finding.

    name: a word for the command line and for files; unique within an analysis.
    caption: what to see, and the number that shows it.
    """

    name: str
    caption: str
    figure: Figure


@contextlib.contextmanager
def applied() -> Iterator[None]:
    """Draw and render in this project's style, and leave the user's own alone."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(RC)
        yield


def grid(
    rows: int = 1,
    columns: int = 1,
    panel: tuple[float, float] = (WIDTH, 3.4),
    sharex: bool = False,
    sharey: bool = False,
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes [rows, columns]; panel is width and height in inches."""
    figure = Figure(figsize=(columns * panel[0], rows * panel[1]), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)


def render(figure: Figure, kind: str) -> bytes:
    """Return a figure in one of `FORMATS`, without dates, the same bytes every time."""
    nameless = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    content = io.BytesIO()
    with applied():
        figure.savefig(content, format=kind, dpi=DPI, metadata=nameless[kind], facecolor="white")
    return content.getvalue()


def edges(centres: np.ndarray, log: bool = False) -> np.ndarray:
    """Return the borders of cells around their centres [P], ascending: [P + 1].

    Half-way between neighbours, geometrically where the axis is logarithmic; the outer
    cells reach as far out as in.
    """
    at = np.log(centres) if log else np.asarray(centres, float)
    if len(at) == 1:
        between = at[:, None] + [-0.5, 0.5]
        return np.exp(between[0]) if log else between[0]
    middle = (at[1:] + at[:-1]) / 2
    found = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(found) if log else found


def is_log(values: np.ndarray) -> bool:
    """Say whether an axis is better seen in ratios: positive, over more than one decade."""
    values = np.asarray(values, float)
    return bool(values.min() > 0 and values.max() / values.min() > 10)


def heat_map(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray, **how: Any) -> QuadMesh:
    """Draw values [Y, X] over x [X] and y [Y], cells around their points, axes log if `is_log`."""
    log_x, log_y = is_log(x), is_log(y)
    mesh = axes.pcolormesh(edges(x, log_x), edges(y, log_y), values, rasterized=True, **how)
    axes.set(xscale=scale_of(x), yscale=scale_of(y))
    return mesh


def classes(colours: tuple[str, ...]) -> dict[str, Any]:
    """Return how `heat_map` draws classes 0, 1 ... each in its colour."""
    return {"cmap": ListedColormap(colours), "vmin": -0.5, "vmax": len(colours) - 0.5}


def plain_ticks(axes: Axes, which: str = "x") -> None:
    """Label an axis with numbers as people write them (.01, 1, 100).

    A logarithmic axis of less than two decades is labelled at 1, 2 and 5 of each.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    if axis.get_scale() == "log" and high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def scale_of(values: np.ndarray) -> str:
    """Return the scale that shows values best, by `is_log`; NaN is left out."""
    known = values[np.isfinite(values)]
    return "log" if known.size and is_log(known) else "linear"
