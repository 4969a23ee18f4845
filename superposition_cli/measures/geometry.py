"""The graph and the polytopes of an embedding.

Features that interfere strongly are joined by edges; a connected component is a set of
vectors nearly orthogonal to all others, a factor of a tegum product, and often a known
polytope. Results vary in length, so these are NumPy functions of one model, on the host:
not for `jax.jit` or `jax.vmap`. Shapes: W [n, m], n features, m hidden dimensions.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float, Real

from superposition_cli.theory.shapes import AnyEmbedding
from superposition_cli.toy.metrics import REPRESENTED_NORM

MOST_COMPARED = 10_000  # features; an array of their pairs takes 800 MB in double precision
EDGE_THRESHOLD = 0.1
IRREGULAR = "irregular"
ADJECTIVES = ("dedicated", IRREGULAR)
POLYTOPES = {
    (1, 1): "dedicated",
    (2, 1): "digon",
    (3, 2): "triangle",
    (4, 3): "tetrahedron",
    (5, 2): "pentagon",
    (6, 2): "hexagon",
    (8, 3): "square antiprism",
}
COMPONENT_RANK_CUT = 0.1  # regular polytopes have equal singular values; training noise is small
MAX_DEVIATION = 0.05  # of D_i from d / k
MAX_IMBALANCE = (
    0.15  # of the mean direction: 0 in a centred polytope, 2 / k with one vertex flipped
)


class FeatureGraph(NamedTuple):
    """The represented features, and how strongly each two of them interfere."""

    nodes: np.ndarray  # [k] feature indices, ascending
    weights: np.ndarray  # [k, k], |W_i·W_j| on edges, else 0; the diagonal is 0


def feature_graph(
    W: AnyEmbedding,
    represented_threshold: float = REPRESENTED_NORM,
    edge_threshold: float = EDGE_THRESHOLD,
) -> FeatureGraph:
    """Return the graph of represented features, joined where they interfere.

    Nodes: ‖W_i‖ > represented_threshold. Edges: |W_i·W_j| > edge_threshold, i ≠ j, weighted
    by it. W is [n, m]; without a represented feature the graph is empty.
    Source: Elhage et al. 2022.
    """
    W = np.asarray(W)
    nodes = np.flatnonzero(np.linalg.norm(W, axis=1) > represented_threshold)
    weights = np.abs(W[nodes] @ W[nodes].T)
    np.fill_diagonal(weights, 0)
    return FeatureGraph(nodes, np.where(weights > edge_threshold, weights, 0))


def components(graph: FeatureGraph) -> tuple[tuple[int, ...], ...]:
    """Return the connected components as feature indices, ordered by their first feature.

    Each is ascending; together they are the graph's nodes. Empty for an empty graph.
    """
    unseen = set(range(len(graph.nodes)))
    found = []
    while unseen:
        frontier = {min(unseen)}
        members: set[int] = set()
        while frontier:
            members |= frontier
            unseen -= frontier
            frontier = {int(j) for i in frontier for j in np.flatnonzero(graph.weights[i])} & unseen
        found.append(tuple(int(graph.nodes[i]) for i in sorted(members)))
    return tuple(found)


def polytope_label(
    W: AnyEmbedding, dimensionality: Real[ArrayLike, " n"], component: tuple[int, ...]
) -> str:
    """Name the polytope that a component's vectors form, such as "digon" or "pentagon".

    k vectors of numerical rank d (singular values > .1 s_max) form a tight frame only if
    every D_i is within .05 of d/k; otherwise the answer is "irregular". The (k, d) in
    `POLYTOPES` have a name, provided the directions balance to a mean below .15 (two
    vectors on one ray are no digon); every other pair is "k/d".

    Shapes: W [n, m], dimensionality [n] (of the whole embedding, see
    `metrics.feature_dimensionality`), component a non-empty tuple of feature indices. An
    octahedron is three components, all digons. Source: Elhage et al. 2022.
    """
    chosen = list(component)
    vectors = np.asarray(W)[chosen]
    k, d = len(chosen), _numerical_rank(vectors)
    if d == 0 or np.max(np.abs(np.asarray(dimensionality)[chosen] - d / k)) >= MAX_DEVIATION:
        return IRREGULAR
    centred = k == 1 or _imbalance(vectors) < MAX_IMBALANCE
    return POLYTOPES.get((k, d), f"{k}/{d}") if centred else f"{k}/{d}"


def angles_2d(
    W: AnyEmbedding, represented_threshold: float = REPRESENTED_NORM
) -> Float[np.ndarray, " gaps"]:
    """Return the angles between neighbouring represented features in the plane, smallest first.

    Degrees, one per represented feature, adding up to 360; empty for fewer than two.
    W is [n, 2]; raises ValueError for any other number of hidden dimensions.
    """
    W = np.asarray(W)
    if W.shape[1] != 2:
        raise ValueError(
            f"angles are defined for n_hidden = 2, and this embedding has {W.shape[1]}"
        )
    kept = W[np.linalg.norm(W, axis=1) > represented_threshold]
    if len(kept) < 2:
        return np.zeros(0, W.dtype)
    angles = np.sort(np.degrees(np.arctan2(kept[:, 1], kept[:, 0])))
    return np.sort(np.diff(angles, append=angles[0] + 360))


def _plural(label: str, count: int) -> str:
    return f"{label}s" if count > 1 and label.isalpha() and label not in ADJECTIVES else label


def _numerical_rank(vectors: Float[np.ndarray, "k m"]) -> int:
    s = np.linalg.svd(vectors, compute_uv=False)
    return int(np.sum(s > COMPONENT_RANK_CUT * s[0]))


def _imbalance(vectors: Float[np.ndarray, "k m"]) -> float:
    """The length of the mean direction, in [0, 1]."""
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return float(np.linalg.norm(np.mean(directions, axis=0)))


def describe(W: AnyEmbedding) -> str:
    """Say in words what an embedding [n, m] consists of, such as "2 digons, 1 dedicated".

    Components of the feature graph by polytope, largest first; in the plane, the range of
    angles between neighbouring features too. "nothing represented" when no feature is, and a
    count where more than `MOST_COMPARED` are.
    """
    W = np.asarray(W, np.float64)
    squares = np.sum(W**2, 1)
    if (represented := int(np.sum(squares > REPRESENTED_NORM**2))) > MOST_COMPARED:
        return f"{represented:,} features represented"
    few = len(W) <= W.shape[1]  # of the two ways to Σ_j (W_i·W_j)² the one with fewer pairs
    along = np.sum((W @ W.T) ** 2, 1) if few else np.sum(W @ (W.T @ W) * W, 1)
    dimensionality = squares**2 / np.maximum(along, np.finfo(np.float64).tiny)
    found = sorted(components(feature_graph(W)), key=len, reverse=True)
    labels = Counter(polytope_label(W, dimensionality, one) for one in found)
    if not labels:
        return "nothing represented"
    words = [f"{count} {_plural(label, count)}" for label, count in labels.items()]
    gaps = angles_2d(W) if W.shape[1] == 2 else np.zeros(0)
    span = f" ({gaps[0]:.0f}-{gaps[-1]:.0f} deg)" if len(gaps) > 2 else ""
    return ", ".join(words) + span
