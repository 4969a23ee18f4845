"""How many patterns of activity data have, and how many inputs stand for them: counted, not listed.

A pattern is which features are active together. Patterns arise by independent choices, one for
each feature or each set; a choice says how many ways it has of k active features, k -> ways, so
that it is a polynomial Σ ways xᵏ. The product of all choices counts the patterns by how many
features are active. Whole numbers only: a configuration is checked by them without JAX.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Sets = Sequence[Sequence[int]]
Choice = Mapping[int, int]  # number of active features -> in how many ways, or patterns
Choices = Callable[[int, Sets], Iterable[Choice]]  # of n features in sets

# The numbers in a mask [P, n] of patterns and an array [n, Q] of inputs, n (P + Q), of one model.
# An array is then at most 2 MiB in float32, and a step works on about five (see `devices`): some
# 10 MiB and 20 milliseconds for one model of tens of hidden dimensions on one core, so that 10,000
# steps are minutes. Six independent features in U[0, 1] take 153,864 in training and 376,230 when
# they are judged by one more node per axis; seven would take 574,952, 14 of constant magnitudes
# take 458,752, 100 one-hot features 250,000.
MOST = 2**19

NODES_PER_AXIS = (1, 24, 10, 6, 5, 4, 4)  # by the number of active features
NODES_BEYOND = 2  # of patterns with more: k axes have 2ᵏ nodes
CLOSED = 2  # closed forms, where a model has them, are of patterns with so many active features
OF_PAIRS = 3  # the closed forms of all pairs do the work of 3 n² inputs
SPELT_OUT = 10**15  # larger counts are not written


def independent(n: int, sets: Sets) -> Iterator[Choice]:
    """Yield a choice for each of n features: off or on."""
    return itertools.repeat({0: 1, 1: 1}, n)


def tied(n: int, sets: Sets) -> Iterator[Choice]:
    """Yield a choice for each set: all of its features off or on."""
    return ({0: 1, len(members): 1} for members in sets)


def exclusive(n: int, sets: Sets) -> Iterator[Choice]:
    """Yield a choice for each set: none of its features on, or one of them."""
    return ({0: 1, 1: len(members)} for members in sets)


def single(n: int, sets: Sets) -> Iterator[Choice]:
    """Yield the one choice of one-hot data: one of n features."""
    yield {1: n}


def counted(choices: Iterable[Choice]) -> dict[int, int] | None:
    """Return how many patterns there are with k active features, for each k in ascending order.

    None where there are over `MOST` of all, however many choices there are.
    """
    found: dict[int, int] = {0: 1}
    for choice in choices:
        product: Counter[int] = Counter()
        for (k, ways), (more, others) in itertools.product(found.items(), choice.items()):
            product[k + more] += ways * others
        found = product
        if found.total() > MOST:
            return None
    return dict(sorted(found.items()))


def per_axis(k: int, finer: int = 0) -> int:
    """Return how many nodes the magnitude of each of k active features has, `finer` more if k > 0.

    Magnitudes being U[low, high]: constant ones have one node each.
    """
    least = NODES_PER_AXIS[k] if k < len(NODES_PER_AXIS) else NODES_BEYOND
    return least + (finer if k else 0)


def nodes(counts: Choice, fewest: int = 0, constant: bool = False, finer: int = 0) -> int:
    """Return the number of nodes of all patterns with at least `fewest` active features.

    constant: the magnitudes of active features are, so that a pattern has one node.
    """
    beyond = ((k, count) for k, count in counts.items() if k >= fewest)
    return sum(count * (1 if constant else per_axis(k, finer) ** k) for k, count in beyond)


def inputs(
    n: int, counts: Choice, closed: bool = False, constant: bool = False, finer: int = 0
) -> int:
    """Return how many inputs of n features the sum over patterns does the work of looking at.

    closed: patterns with up to `CLOSED` active features need no nodes, but the work of pairs.
    """
    pairs = OF_PAIRS * n**2 if closed and CLOSED in counts else 0
    return nodes(counts, CLOSED + 1 if closed else 0, constant, finer) + pairs


def excess(n: int, choices: Iterable[Choice], closed: bool, constant: bool) -> str | None:
    """Say what exceeds `MOST`, and how much of it n features may have; None where all fits."""
    counts, room = counted(choices), MOST // n
    if counts is None or (patterns := sum(counts.values())) > room:
        many = f"over {MOST:,}" if counts is None else f"{patterns:,}"
        return f"{many} activity patterns of {n:,} features; at most {room:,}"
    needed = inputs(n, counts, closed, constant)
    if needed <= room - patterns:
        return None
    many = f"{needed:,}" if needed < SPELT_OUT else f"over {SPELT_OUT:,}"
    of = f"{patterns:,} activity patterns of {n:,} features"
    return f"{many} nodes for {of}; at most {room - patterns:,}"
