"""Patterns of activity are counted as if they were listed one by one; what is too many is told."""

import itertools
import subprocess
import sys
from collections import Counter

import pytest
from house import ROOT

from superposition_cli.theory import activity

SETS = ((0, 3), (1, 4, 2), (5,), (6, 7))


def on_of(members, pattern):
    return sum(pattern[i] for i in members)


POSSIBLE = {
    activity.independent: lambda pattern: True,
    activity.tied: lambda pattern: all(on_of(one, pattern) in (0, len(one)) for one in SETS),
    activity.exclusive: lambda pattern: all(on_of(one, pattern) <= 1 for one in SETS),
    activity.single: lambda pattern: sum(pattern) == 1,
}


@pytest.mark.parametrize("law", POSSIBLE, ids=lambda law: law.__name__)
def test_patterns_are_as_many_as_subsets_that_may_occur(law):
    subsets = itertools.product((0, 1), repeat=8)
    listed = Counter(sum(pattern) for pattern in subsets if POSSIBLE[law](pattern))
    assert activity.counted(law(8, SETS)) == listed


def test_nodes_are_those_of_every_pattern():
    # Σ_k C(6, k) n_kᵏ, with n_k = 24, 10, 6, 5, 4, 4 nodes an axis for k = 1 to 6 active features:
    # 1 + 6 24 + 15 100 + 20 216 + 15 625 + 6 1024 + 4096
    six = activity.counted(activity.independent(6, ()))
    assert activity.nodes(six) == 25_580
    assert activity.nodes(six, fewest=3) == 25_580 - 1 - 144 - 1500
    assert activity.nodes(six, constant=True) == 64
    # one node more an axis: 1 + 6 25 + 15 121 + 20 343 + 15 1296 + 6 3125 + 15625
    assert activity.nodes(six, finer=1) == 62_641
    # two sets of 7 and 3, tied: none, 3, 7 or 10 on: 1 + 6³ + 2⁷ + 2¹⁰
    assert activity.nodes(activity.counted(activity.tied(10, (range(7), range(3))))) == 1369


def excess(n, law, closed=False, constant=False, sets=()):
    return activity.excess(n, law(n, sets), closed, constant)


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("closed", [False, True])
def test_up_to_six_features_fit_however_they_are_active(n, closed):
    singles = [(i,) for i in range(n)]
    laws = [(law, sets) for law in POSSIBLE for sets in (singles, [range(n)])]
    assert {excess(n, law, closed, sets=sets) for law, sets in laws} == {None}


def test_few_patterns_of_many_features_fit():
    groups = (range(4), range(4, 6), (6,), (7,), (8,))
    assert {excess(n, activity.single) for n in (8, 20, 100)} == {None}
    assert excess(300, activity.single, closed=True) is None
    assert excess(300, activity.single, constant=True) is None
    assert excess(9, activity.exclusive, sets=groups) is None
    assert excess(12, activity.tied, sets=(range(3), range(3, 7), range(7, 12))) is None
    assert excess(14, activity.independent, constant=True) is None


def test_what_is_too_many_is_told_in_numbers():
    # n (P + Q) may be 2^19: of seven features P + Q = 74,898, of which 128 are patterns.
    # Beyond the nodes of six with C(7, k) in place of C(6, k) there are 2⁷ of all seven:
    # 1 + 7 24 + 21 100 + 35 216 + 35 625 + 21 1024 + 7 4096 + 128
    assert excess(7, activity.independent) == (
        "82,008 nodes for 128 activity patterns of 7 features; at most 74,770"
    )
    # closed forms stand for the first 2,269 of them, and cost 3 7²
    assert excess(7, activity.independent, closed=True) == (
        "79,886 nodes for 128 activity patterns of 7 features; at most 74,770"
    )
    assert excess(15, activity.independent, constant=True) == (
        "32,768 nodes for 32,768 activity patterns of 15 features; at most 2,184"
    )
    assert excess(1000, activity.single, constant=True) == (
        "1,000 activity patterns of 1,000 features; at most 524"
    )


@pytest.mark.parametrize("n", [30, 100_000])
def test_nothing_is_expanded_to_be_counted(n):
    assert excess(n, activity.independent) == (
        f"over 524,288 activity patterns of {n:,} features; at most {2**19 // n:,}"
    )
    told = excess(n, activity.tied, sets=[range(n)])
    if n == 30:  # none, or all thirty with two nodes each: 1 + 2^30
        assert told == "1,073,741,825 nodes for 2 activity patterns of 30 features; at most 17,474"
    else:
        assert told.startswith("over 1,000,000,000,000,000 nodes for 2 activity patterns")


def test_configurations_are_counted_without_jax():
    program = "import superposition_cli.config, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
