"""Expectations over few features: every pattern of activity, and nodes for its magnitudes.

For few features the expectation over inputs is a finite sum over patterns of activity of
low-dimensional integrals over the magnitudes; tensor Gauss-Legendre nodes turn it into one
weighted, noise-free batch whose weights alone depend on the feature probabilities.
"""

import functools
import itertools
from typing import NamedTuple

import jax
import numpy as np

from superposition_cli.toy import data
from superposition_cli.toy.data import Patterns
from superposition_cli.toy.spec import Knobs, Spec, any_knobs

MAX_FEATURES = 6
NODES_PER_AXIS = (1, 24, 10, 6, 5, 4, 4)  # by the number of active features

FINEST = 10  # nodes per axis that a finer rule adds at most


class Nodes(NamedTuple):
    """A weighted batch of Q inputs, before magnitudes are stretched to [low, high]."""

    magnitude: np.ndarray  # [n, Q], in [0, 1]
    active: np.ndarray  # [n, Q] bool
    pattern: np.ndarray  # [Q], index of the pattern a node belongs to
    weight: np.ndarray  # [Q], adding up to 1 within a pattern


def listed(spec: Spec) -> bool:
    """Say whether the patterns of activity are listed: the sampler does, and features are few."""
    return data.SAMPLERS[spec.data].patterns is not None and spec.n_features <= MAX_FEATURES


def patterns(spec: Spec, knobs: Knobs) -> Patterns:
    """Return every pattern of activity that can occur and its probability.

    Raises `ValueError` for more than six features, and where the sampler lists none.
    """
    law = data.SAMPLERS[spec.data].patterns
    if law is None:
        raise ValueError(f"{spec.data} data come without a list of their activity patterns")
    if spec.n_features > MAX_FEATURES:
        many = f"not {spec.n_features}"
        raise ValueError(f"activity patterns are listed for n_features <= {MAX_FEATURES}, {many}")
    return law(spec, knobs)


@functools.cache
def masks(spec: Spec) -> np.ndarray:
    """Return the mask of `patterns`, which no knob changes: [P, n] of bool."""
    with jax.ensure_compile_time_eval():
        return np.asarray(patterns(spec, any_knobs(spec)).mask)


@functools.cache
def nodes(spec: Spec, fewest: int, finer: int = 0) -> Nodes:
    """Return the nodes of all patterns with at least `fewest` active features.

    `finer` adds so many nodes per axis, to measure the error.
    """
    n = spec.n_features
    columns, owners, weights = [np.zeros((n, 0))], [np.zeros(0, int)], [np.zeros(0)]
    for index, active in enumerate(masks(spec)):
        count = int(active.sum())
        if count < fewest:
            continue
        points, factors = _legendre(NODES_PER_AXIS[count] + (finer if count else 0))
        grid = np.array(list(itertools.product(points, repeat=count)))
        column = np.zeros((n, len(grid)))
        column[active] = grid.reshape(len(grid), count).T
        columns.append(column)
        owners.append(np.full(len(grid), index))
        products = itertools.product(factors, repeat=count)
        weights.append(np.array([np.prod(one) for one in products]))
    pattern = np.concatenate(owners)
    on = masks(spec)[pattern].T
    return Nodes(np.concatenate(columns, 1), on, pattern, np.concatenate(weights))


def affordable(spec: Spec, fewest: int, most: int) -> int:
    """Return how many nodes per axis can be added before there are over `most` nodes.

    At most `FINEST`; 0 where the coarsest rule has so many already, or none at all.
    """
    counts = masks(spec).sum(1)
    active = counts[counts >= fewest]

    def size(finer: int) -> int:
        return sum((NODES_PER_AXIS[k] + finer) ** k for k in map(int, active))

    steps = range(1, FINEST + 1) if active.any() else ()
    return max((finer for finer in steps if size(finer) <= most), default=0)


def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return (points + 1) / 2, weights / 2
