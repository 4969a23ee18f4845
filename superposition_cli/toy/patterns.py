"""Expectations over patterns of activity: every pattern, and nodes for its magnitudes.

Where patterns are few the expectation over inputs is a finite sum over them of low-dimensional
integrals over the magnitudes; tensor Gauss-Legendre nodes turn it into one weighted, noise-free
batch whose weights alone depend on the feature probabilities. How many are few is in
`theory.activity`.
"""

import functools
import itertools
from collections import Counter
from typing import NamedTuple

import jax
import numpy as np

from superposition_cli.theory import activity
from superposition_cli.toy import data
from superposition_cli.toy.data import Patterns
from superposition_cli.toy.spec import Knobs, Spec, any_knobs

FINEST = 10  # nodes per axis that a finer rule adds at most
COARSER = -1  # nodes per axis that are added to know what a rule is worth that cannot be finer


class Nodes(NamedTuple):
    """A weighted batch of Q inputs, before magnitudes are stretched to [low, high]."""

    magnitude: np.ndarray  # [n, Q], in [0, 1]
    active: np.ndarray  # [n, Q] bool
    pattern: np.ndarray  # [Q], index of the pattern a node belongs to
    weight: np.ndarray  # [Q], adding up to 1 within a pattern


def unlisted(spec: Spec, closed: bool = False) -> str | None:
    """Say why the patterns of activity are not listed, if so: there is no law, or they are many.

    closed: those of up to `activity.CLOSED` active features need no nodes.
    """
    if data.SAMPLERS[spec.data].patterns is None:
        return f"{spec.data} data list no activity patterns"
    many = excess(spec, closed)
    return many and f"{spec.data} data would need {many}"


def excess(spec: Spec, closed: bool = False) -> str | None:
    """Say what is too many of patterns or nodes, if so; every subset where they are not counted."""
    choices = data.SAMPLERS[spec.data].choices or activity.independent
    given = choices(spec.n_features, spec.sets)
    return activity.excess(spec.n_features, given, closed, spec.constant)


def patterns(spec: Spec, knobs: Knobs) -> Patterns:
    """Return every pattern of activity that can occur and its probability.

    Raises `ValueError` where the sampler lists none, or they are too many whatever the model.
    """
    if (why := unlisted(spec, closed=True)) is not None:
        raise ValueError(why)
    law = data.SAMPLERS[spec.data].patterns
    assert law is not None
    return law(spec, knobs)


@functools.cache
def masks(spec: Spec) -> np.ndarray:
    """Return the mask of `patterns`, which no knob changes: [P, n] of bool."""
    with jax.ensure_compile_time_eval():
        return np.asarray(patterns(spec, any_knobs(spec)).mask)


@functools.cache
def nodes(spec: Spec, fewest: int, finer: int = 0) -> Nodes:
    """Return the nodes of all patterns with at least `fewest` active features.

    `finer` adds so many nodes per axis, to measure the error; see `_rule` for `COARSER`.
    """
    n = spec.n_features
    columns, owners, weights = [np.zeros((n, 0))], [np.zeros(0, int)], [np.zeros(0)]
    for index, active in enumerate(masks(spec)):
        count = int(active.sum())
        if count < fewest:
            continue
        grid, products = _grid(count, finer, spec.constant)
        column = np.zeros((n, len(grid)))
        column[active] = grid.T
        columns.append(column)
        owners.append(np.full(len(grid), index))
        weights.append(products)
    pattern = np.concatenate(owners)
    on = masks(spec)[pattern].T
    return Nodes(np.concatenate(columns, 1), on, pattern, np.concatenate(weights))


@functools.cache
def _grid(count: int, finer: int, constant: bool) -> tuple[np.ndarray, np.ndarray]:
    """The nodes [Q, count] of so many magnitudes and their weights [Q]."""
    points, factors = (np.zeros(1), np.ones(1)) if constant else _rule(count, finer)
    grid = np.array(list(itertools.product(points, repeat=count)))
    products = itertools.product(factors, repeat=count)
    return grid.reshape(len(points) ** count, count), np.array([np.prod(one) for one in products])


def counted(spec: Spec, fewest: int = 0, finer: int = 0) -> int:
    """Return how many `nodes` there are, without making them."""
    counts = Counter(masks(spec).sum(1).tolist())
    return activity.nodes(counts, fewest, spec.constant, finer)


def work(spec: Spec, closed: bool, finer: int) -> int:
    """Return how many patterns and inputs there are to look at; see `activity.inputs`."""
    counts = Counter(masks(spec).sum(1).tolist())
    seen = activity.inputs(spec.n_features, counts, closed, spec.constant, finer)
    return counts.total() + seen


def affordable(spec: Spec, fewest: int, most: int) -> int:
    """Return how many nodes per axis can be added before there are over `most` nodes.

    At most `FINEST`; 0 where the coarsest rule has so many already, or nothing to refine.
    """
    if counted(spec, fewest, 1) == counted(spec, fewest):
        return 0
    steps = range(1, FINEST + 1)
    return max((finer for finer in steps if counted(spec, fewest, finer) <= most), default=0)


def _rule(count: int, finer: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on [0, 1] for each of so many axes: Gauss-Legendre's.

    A single node would know nothing of how magnitudes vary: in its place are the two nodes of
    Radau, which are exact to degree 2, where Gauss's are to degree 3.
    """
    along = activity.per_axis(count, finer)
    if count and along == 1:
        return np.array([0, 2 / 3]), np.array([1 / 4, 3 / 4])
    points, weights = np.polynomial.legendre.leggauss(along)
    return (points + 1) / 2, weights / 2
