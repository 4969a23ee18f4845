"""Windows, jumps, swaps and plateaus of courses made by hand."""

import numpy as np
import pytest

from superposition_cli.measures import course as module
from superposition_cli.measures.course import Course, Windows

STEP = np.arange(101)


def course(D, loss=None, represented=None):
    D = np.asarray(D, float)
    loss = np.ones(len(D)) if loss is None else np.asarray(loss, float)
    represented = np.ones(D.shape, bool) if represented is None else np.asarray(represented)
    return Course(np.arange(len(D)), D, represented, loss)


def test_edges_are_every_fiftieth_of_the_run_where_there_are_snapshots():
    np.testing.assert_array_equal(module.edges(STEP), np.arange(0, 101, 2))
    # Every snapshot is the nearest to some edge, so there are three windows.
    np.testing.assert_array_equal(module.edges(np.array([0, 1, 49, 100])), [0, 1, 2, 3])
    assert len(module.edges(np.zeros(1, int))) == 1
    assert len(module.edges(np.zeros(0, int))) == 0


def test_a_jump_is_counted_in_its_window_if_the_feature_is_represented():
    D = np.full((101, 3), 0.5)
    D[31:, 0] = 0.35  # down by .15 between steps 30 and 32
    D[31:, 1] = 0.41  # by .09: no jump
    D[31:, 2] = 0.0  # not represented
    represented = np.ones((101, 3), bool)
    represented[:, 2] = False
    loss = np.where(STEP < 31, np.e, 1.0)
    found = module.windows(course(D, loss, represented))
    assert found.jumps.tolist() == [0] * 15 + [1] + [0] * 34
    assert found.fall == pytest.approx(found.jumps)
    assert found.counted.all()
    assert found.start[15] == 30
    assert set(found.length.tolist()) == {2}
    # One of 50 windows has the only jump and the only fall.
    assert module.jump_correlation([found]) == pytest.approx(1)
    assert module.fall([found], jumped=True) == pytest.approx(1)
    assert module.fall([found], jumped=False) == pytest.approx(0)


def test_a_feature_that_vanishes_jumps_and_windows_with_nothing_do_not_count():
    represented = (STEP < 31)[:, None]
    found = module.windows(course(0.5 * represented, represented=represented))
    assert found.jumps.sum() == 1
    np.testing.assert_array_equal(found.counted, np.arange(50) < 16)


def test_late_windows_begin_after_a_tenth():
    found = module.late(module.windows(course(np.ones((101, 1)))))
    assert found.start[found.counted].min() == 10
    assert found.counted.sum() == 45


def make_windows(jumps, fall, counted=True):
    length = np.full(len(jumps), 4)
    return Windows(4 * np.arange(len(jumps)), length, np.array(jumps), np.array(fall),
                   np.broadcast_to(counted, len(jumps)))  # fmt: skip


def test_correlations_are_over_all_counted_windows():
    one, other = make_windows([0, 2], [0.0, 0.1]), make_windows([1, 9], [0.4, 0.0], [True, False])
    # Jumps 0, 2, 1 and falls 0, .1, .4: covariance .1/3, variances 2/3 and .26/9.
    expected = (0.1 / 3) / np.sqrt(2 / 3 * 0.26 / 9)
    assert module.jump_correlation([one, other]) == pytest.approx(expected)
    assert module.jump_correlation([make_windows([1, 1], [0.0, 0.1])]) is None
    assert module.jump_correlation([make_windows([0, 1], [0.1, 0.1])]) is None
    assert module.fall([one, other], jumped=True) == pytest.approx(0.25)
    assert module.fall([make_windows([0, 0], [0.1, 0.2])], jumped=True) is None


def test_sticky_time_weighs_snapshots_by_steps():
    # At 1/2 at step 0, which stands for 1 step; at .45 at 2, for 5; at .52 at 10, for 4.
    D = np.array([[0.5], [0.45], [0.52]])
    course = Course(np.array([0, 2, 10]), D, np.ones((3, 1), bool), np.ones(3))
    assert module.sticky_time(course, (0.5,)) == pytest.approx(5 / 10)
    assert module.sticky_time(course, (0.4, 0.45)) == pytest.approx(5 / 10)
    assert module.sticky_time(course, (0.5, 0.45)) == pytest.approx(1)
    half = course._replace(represented=np.array([[False], [True], [True]]))
    assert module.sticky_time(half, (0.5,)) == pytest.approx(4 / 9)
    nothing = course._replace(represented=np.zeros((3, 1), bool))
    assert module.sticky_time(nothing, (0.5,)) is None


def rows(*features):
    """Features as texts of snapshots, # where one is represented: -> [S, n]."""
    return np.array([[mark == "#" for mark in one] for one in features]).T


@pytest.mark.parametrize(
    ("features", "count"),
    [
        (["..##..", "....##"], 1),  # one goes, the other comes in the same snapshot
        (["..##..", ".....#"], 1),  # ... or later
        (["..##..", "...###"], 0),  # both were there
        (["..##..", ".....#", "....##"], 1),  # one place, whoever takes it
        ([".##...", "..##..", "...#.#", "....##"], 2),
        (["##....", "..####"], 0),  # represented at the start: chance
        (["..##.#", "....##"], 0),  # it came back
        (["######", "######"], 0),
        (["......", "...#.."], 0),  # lost to nobody
    ],
)
def test_swaps(features, count):
    assert module.swaps(rows(*features)) == count


def test_plateaus_of_a_staircase():
    step = np.unique(np.geomspace(1, 10_000, 400).astype(int)) - 1
    decade = np.log10(step + 1)
    # ln L falls by .1 per decade up to decade 1.5, by ln 10 up to decade 2, and no more.
    slope = np.where(decade < 1.5, 0.1, np.where(decade < 2, np.log(10) / 0.5, 0))
    height = -np.concatenate([[0], np.cumsum(slope[:-1] * np.diff(decade))])
    first, second = module.plateaus(step, np.exp(height))
    assert first.start == 0
    assert second.stop == step[-1]
    assert np.log10(first.stop + 1) == pytest.approx(1.5, abs=0.03)
    assert np.log10(second.start + 1) == pytest.approx(2, abs=0.03)
    # The mean of a line is its value half-way: -.1 x .75.
    assert np.log(first.level) == pytest.approx(-0.075, abs=0.002)
    assert np.log(second.level) == pytest.approx(height[-1], abs=1e-9)


def test_the_four_longest_plateaus_are_found_and_short_ones_are_not():
    # Stretches of 1, 3, 2, 4, 5 and .05 decades, each lower than the last.
    decade = np.array([0, 1, 1.01, 4.01, 4.02, 6.02, 6.03, 10.03, 10.04, 15.04, 15.05, 15.1])
    loss = 0.5 ** np.repeat(np.arange(6), 2)
    found = module.plateaus(10**decade - 1, loss)
    assert [one.level for one in found] == pytest.approx([1 / 2, 1 / 4, 1 / 8, 1 / 16])
    assert module.plateaus(np.arange(10), 0.5 ** np.arange(10)) == []
