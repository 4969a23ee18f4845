"""Which features are active together: every pattern of activity, its probability, its nodes.

For few features the expectation over inputs is a finite sum over patterns of activity of
low-dimensional integrals over the magnitudes; tensor Gauss-Legendre nodes turn it into one
weighted, noise-free batch whose weights alone depend on the feature probabilities.
"""

import functools
import itertools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from superposition_cli.toy import data
from superposition_cli.toy.spec import Knobs, Spec

MAX_FEATURES = 6
NODES_PER_AXIS = (1, 24, 10, 6, 5, 4, 4)  # by the number of active features

FINEST = 10  # nodes per axis that a finer rule adds at most


class Nodes(NamedTuple):
    """A weighted batch of Q inputs, before magnitudes are stretched to [low, high]."""

    magnitude: np.ndarray  # [n, Q], in [0, 1]
    active: np.ndarray  # [n, Q] bool
    pattern: np.ndarray  # [Q], index of the pattern a node belongs to
    weight: np.ndarray  # [Q], adding up to 1 within a pattern


@functools.cache
def patterns(spec: Spec) -> np.ndarray:
    """Return every pattern of activity that can occur, as booleans [P, n], fewest first.

    Raises `ValueError` for more than six features.
    """
    n = spec.n_features
    if n > MAX_FEATURES:
        raise ValueError(f"activity patterns are listed for n_features <= {MAX_FEATURES}, not {n}")
    every = np.array(list(itertools.product((False, True), repeat=n)))
    possible = every[[_possible(spec, active) for active in every]]
    return possible[np.argsort(possible.sum(1), kind="stable")]


def _possible(spec: Spec, active: np.ndarray) -> bool:
    if spec.data == "uniform":
        return True
    counts = [(int(active[list(members)].sum()), len(members)) for members in data.sets(spec)]
    if spec.data == "correlated":
        return all(count in (0, size) for count, size in counts)
    if spec.data == "one_hot":
        return counts[0][0] == 1
    return all(count <= 1 for count, _ in counts)


def probability(spec: Spec, knobs: Knobs) -> Array:
    """Return the probability [P] of every pattern of `patterns`; they add up to 1.

    Independent features: prod_i p_i or 1 - p_i. A correlated set is on with its p or off.
    Of an anticorrelated set with activity P and k members, one member is on with P/k.
    """
    active = patterns(spec)
    total = jnp.ones(len(active), knobs.importance.dtype)
    q = data.SAMPLERS[spec.data].marginal(spec, knobs)
    if spec.data == "uniform":
        return jnp.prod(jnp.where(active, q, 1 - q), axis=1)
    for members in data.sets(spec):
        own = active[:, list(members)]
        if spec.data == "correlated":
            total *= jnp.where(own[:, 0], q[members[0]], 1 - q[members[0]])
        else:
            marginal = q[members[0]]
            total *= jnp.where(own.any(1), marginal, 1 - len(members) * marginal)
    return total


@functools.cache
def nodes(spec: Spec, fewest: int, finer: int = 0) -> Nodes:
    """Return the nodes of all patterns with at least `fewest` active features.

    `finer` adds so many nodes per axis, to measure the error.
    """
    n = spec.n_features
    columns, owners, weights = [np.zeros((n, 0))], [np.zeros(0, int)], [np.zeros(0)]
    for index, active in enumerate(patterns(spec)):
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
    on = patterns(spec)[pattern].T
    return Nodes(np.concatenate(columns, 1), on, pattern, np.concatenate(weights))


def affordable(spec: Spec, fewest: int, most: int) -> int:
    """Return how many nodes per axis can be added before there are over `most` nodes.

    At most `FINEST`; 0 where the coarsest rule has so many already, or none at all.
    """
    counts = patterns(spec).sum(1)
    active = counts[counts >= fewest]

    def size(finer: int) -> int:
        return sum((NODES_PER_AXIS[k] + finer) ** k for k in map(int, active))

    steps = range(1, FINEST + 1) if active.any() else ()
    return max((finer for finer in steps if size(finer) <= most), default=0)


def _legendre(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(count)
    return (points + 1) / 2, weights / 2
