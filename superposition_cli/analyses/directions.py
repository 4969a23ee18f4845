"""How close to orthogonal are random vectors, and vectors packed as well as training can?

Exact laws of random directions beside what the models of a run show; see `packing`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from superposition_cli.analyses.findings import Finding
from superposition_cli.errors import InvalidInput
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

    Rows: coherence_best and coherence_median over models, welch_bound, coherence_random by
    theory; mean_square of the cosines times m as mean_square_m, 1 for random vectors; and
    for each ε: tail, the share of pairs with |cos| > ε, tail_exact, tail_ratio, n50 (exact)
    and enough_dimensions. Numbers: growth, the slope of ln N50 in m over untrained cells with
    N50 from observed tails, growth_r2 of that line, growth_limit; null with fewer than three
    sizes m at which 100 pairs were beyond ε.

    Arrays: histogram [cells, bins] of |cos| with edges [bins + 1], tail_exact [cells, bins]
    at the lower edges, count, dimensions and welch_bound [cells], coherence [cells, R].
    Raises `InvalidInput` for runs of another objective.
    """
    experiment = results.plan.experiment
    trainings = [results.plan.setting(cell).train for cell in range(experiment.n_cells)]
    if any(one.objective != "packing" for one in trainings):
        raise InvalidInput("directions is for runs of objective packing, where only W counts")
    samples = [sample(*_cosines(results, cell)) for cell in range(experiment.n_cells)]
    with jax.enable_x64(True):
        rows = tuple(
            {**results.plan.assignment(cell), **of_sample(one)} for cell, one in enumerate(samples)
        )
        numbers: dict[str, float | None] = {"cells": len(rows)}
        untrained = [one for one, how in zip(samples, trainings, strict=True) if not how.steps]
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


def of_sample(one: Sample) -> dict[str, Any]:
    """Return the row of a cell, without its axes."""
    row = {
        "vectors": one.vectors,
        "dimensions": one.dimensions,
        "coherence_best": float(one.coherence.min()),
        "coherence_median": float(np.median(one.coherence)),
        "coherence_random": float(packing.median_coherence(one.vectors, one.dimensions)),
        "welch_bound": float(linear.welch_bound(float(one.vectors), float(one.dimensions))),
        "mean_square_m": one.mean_square * one.dimensions,
    }
    for epsilon in EPSILONS:
        seen, exact = one.beyond(epsilon), float(packing.tail(one.dimensions, epsilon))
        share = seen / int(one.histogram.sum())
        found = {
            "tail": share,
            "tail_exact": exact,
            "tail_ratio": share / exact,
            "n50": float(packing.median_count(one.dimensions, epsilon)),
            "enough_dimensions": float(packing.enough_dimensions(one.vectors, epsilon)),
        }
        row |= {named(name, epsilon): value for name, value in found.items()}
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
    found = {"growth": slope, "growth_r2": r2, "growth_limit": limit}
    return {named(name, epsilon): value for name, value in found.items()}


def named(name: str, epsilon: float) -> str:
    """Return the name of a number that belongs to an epsilon: tail_0_3 at 0.3."""
    return f"{name}_{epsilon:g}".replace(".", "_")


def _arrays(samples: list[Sample]) -> dict[str, np.ndarray]:
    edges = np.linspace(0, 1, BINS + 1)
    count = np.array([one.vectors for one in samples])
    m = np.array([one.dimensions for one in samples])
    return {
        "edges": edges,
        "histogram": np.stack([one.histogram for one in samples]),
        "tail_exact": np.asarray(packing.tail(m[:, None], edges[:-1])),
        "count": count,
        "dimensions": m,
        "coherence": np.stack([one.coherence for one in samples]),
        "welch_bound": np.asarray(linear.welch_bound(count.astype(float), m)),
    }
