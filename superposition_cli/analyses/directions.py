"""How close to orthogonal are random vectors, and vectors packed as well as training can?

Exact laws of random directions beside what the models of a run show; see `packing`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses import needs, selection
from superposition_cli.analyses.analysis import Analysis, Key, Keys
from superposition_cli.analyses.findings import Finding, Row
from superposition_cli.running.results import Results
from superposition_cli.theory import linear, packing

EPSILONS = (0.1, 0.2, 0.3)
BINS = 200  # of |cos| in [0, 1], so that every epsilon is an edge
FEW_PAIRS = 100  # beyond epsilon; from fewer the growth is not estimated
FEW_SIZES = 3  # through two points every line fits


class Sample(NamedTuple):
    """The cosines between different vectors of R models of one size."""

    vectors: int  # of one model
    dimensions: int
    coherence: np.ndarray  # [R]
    mean_square: float  # of all cosines
    histogram: np.ndarray  # [BINS], pairs by |cos|

    def beyond(self, epsilon: float) -> int:
        """How many pairs have |cos| > epsilon."""
        return int(self.histogram[round(epsilon * BINS) :].sum())


def directions(results: Results) -> Finding:
    """Return how close to orthogonal the vectors of each cell are, over all its models.

    Growth is that of N50 from observed tails over untrained cells: null with fewer than three
    sizes m at which 100 pairs were beyond ε. All models of a cell count.
    """
    settings = selection.settings(results)
    samples = [sample(*_cosines(results, cell)) for cell in range(len(settings))]
    with jax.enable_x64(True):
        rows = tuple(
            {**results.plan.assignment(cell), **of_sample(one)} for cell, one in enumerate(samples)
        )
        numbers: dict[str, float | None] = {"cells": len(rows)}
        untrained = [
            one for one, setting in zip(samples, settings, strict=True) if not setting.train.steps
        ]
        for epsilon in EPSILONS:
            numbers |= growth(untrained, epsilon)
        arrays = _arrays(samples)
    return Finding(numbers, rows, arrays)


def _cosines(results: Results, cell: int) -> tuple[np.ndarray, int]:
    """The cosines of all pairs of each of a cell's models, [R, pairs], and m."""
    first, restarts = cell * results.plan.restarts, results.plan.restarts
    rows = []
    for number in range(first, first + restarts):
        W = results.model(number)["W"]
        rows.append(np.asarray(packing.cosines(jnp.asarray(W)))[np.triu_indices(len(W), 1)])
    return np.stack(rows), W.shape[1]


def sample(cosines: np.ndarray, dimensions: int) -> Sample:
    """Sum up the cosines of all pairs of R models, [R, N (N - 1)/2]."""
    size = np.minimum(np.abs(cosines.astype(np.float64)), 1)
    count = round((1 + np.sqrt(1 + 8 * size.shape[1])) / 2)
    histogram = np.histogram(size, BINS, (0, 1))[0]
    return Sample(count, dimensions, size.max(1), float((size**2).mean()), histogram)


def of_sample(of_cell: Sample) -> Row:
    """Return the row of a cell, without its axes."""
    vectors, dimensions = of_cell.vectors, of_cell.dimensions
    row: dict[str, float | int] = {
        "vectors": vectors,
        "dimensions": dimensions,
        "coherence_best": float(of_cell.coherence.min()),
        "coherence_median": float(np.median(of_cell.coherence)),
        "coherence_random": float(packing.median_coherence(vectors, dimensions)),
        "welch_bound": float(linear.welch_bound(float(vectors), float(dimensions))),
        "mean_square_m": of_cell.mean_square * dimensions,
    }
    for epsilon in EPSILONS:
        exact = float(packing.tail(dimensions, epsilon))
        share = of_cell.beyond(epsilon) / int(of_cell.histogram.sum())
        values = {
            "tail": share,
            "tail_exact": exact,
            "tail_ratio": share / exact,
            "n50": float(packing.median_count(dimensions, epsilon)),
            "enough_dimensions": float(packing.enough_dimensions(vectors, epsilon)),
        }
        row |= {named(name, epsilon): value for name, value in values.items()}
    return row


def growth(samples: list[Sample], epsilon: float) -> dict[str, float | None]:
    """Return the straight line through ln N50 over m, N50 = sqrt(2 ln 2 / observed tail)."""
    points = [
        (one.dimensions, 0.5 * np.log(2 * np.log(2) * one.histogram.sum() / one.beyond(epsilon)))
        for one in samples
        if one.beyond(epsilon) >= FEW_PAIRS
    ]
    slope = r2 = None
    if len({m for m, _ in points}) >= FEW_SIZES:
        m, logarithm = np.array(points, float).T
        slope = float(np.polyfit(m, logarithm, 1)[0])
        r2 = float(np.corrcoef(m, logarithm)[0, 1] ** 2)
    limit = float(packing.growth(epsilon))
    line = {"growth": slope, "growth_r2": r2, "growth_limit": limit}
    return {named(name, epsilon): value for name, value in line.items()}


def named(name: str, epsilon: float) -> str:
    """Return the name of a number that belongs to an epsilon: tail_0_3 at 0.3."""
    return f"{name}_{epsilon:g}".replace(".", "_")


def _arrays(samples: list[Sample]) -> dict[str, np.ndarray]:
    edges = np.linspace(0, 1, BINS + 1)
    count = np.array([of_cell.vectors for of_cell in samples])
    m = np.array([of_cell.dimensions for of_cell in samples])
    return {
        "edges": edges,
        "histogram": np.stack([of_cell.histogram for of_cell in samples]),
        "tail_exact": np.asarray(packing.tail(m[:, None], edges[:-1])),
        "count": count,
        "dimensions": m,
        "coherence": np.stack([of_cell.coherence for of_cell in samples]),
        "welch_bound": np.asarray(linear.welch_bound(count.astype(float), m)),
    }


def _keys(meanings: dict[str, str]) -> dict[str, Key]:
    """The keys of numbers that there are for every epsilon."""
    return {
        named(name, epsilon): Key(meaning.replace("ε", f"{epsilon:g}"))
        for epsilon in EPSILONS
        for name, meaning in meanings.items()
    }


ANALYSIS = Analysis(
    question=(
        "How close to orthogonal are random vectors, and vectors packed as well as training can?"
    ),
    needs=(needs.among("train.objective", "packing", why="only W counts"),),
    runs_on="cpu",
    keys=Keys(
        numbers={
            "cells": Key("cells of the run"),
            **_keys(
                {
                    "growth": "slope in m of ln N50, pairs beyond |cos| = ε as observed",
                    "growth_r2": "R² of the line of growth at ε",
                    "growth_limit": "slope of ln N50 at ε for large m",
                }
            ),
        },
        rows={
            "vectors": Key("N, vectors of a model"),
            "dimensions": Key("m"),
            "coherence_best": Key("largest |cos| of two vectors, in the best model"),
            "coherence_median": Key("largest |cos| of two vectors, median over models"),
            "coherence_random": Key("median of that for random vectors, by theory"),
            "welch_bound": Key("least coherence that N vectors can have"),
            "mean_square_m": Key("mean of cos² times m; 1 for random vectors"),
            **_keys(
                {
                    "tail": "share of pairs with |cos| > ε",
                    "tail_exact": "probability that two random vectors have |cos| > ε",
                    "tail_ratio": "tail by tail_exact at ε",
                    "n50": "random vectors of which half of all draws hold no pair beyond ε",
                    "enough_dimensions": "dimensions that suffice for N vectors within ε",
                }
            ),
        },
        arrays={
            "edges": Key("edges of the bins of |cos|", shape="[bins + 1]"),
            "histogram": Key("pairs by |cos|, of all models", shape="[C, bins]"),
            "tail_exact": Key("exact tail from the lower edge of each bin", shape="[C, bins]"),
            "count": Key("N", shape="[C]"),
            "dimensions": Key("m", shape="[C]"),
            "coherence": Key("largest |cos| in each model", shape="[C, restarts]"),
            "welch_bound": Key("least coherence that N vectors can have", shape="[C]"),
        },
    ),
    compute=directions,
)
