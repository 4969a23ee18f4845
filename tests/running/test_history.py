"""What is kept of the losses, and when a model counts as converged."""

import numpy as np
import pytest

from superposition_cli.running import history
from superposition_cli.running.history import LOSS_STEPS, History, log_spaced


@pytest.mark.parametrize("most", [2, 3, 20, 200])
@pytest.mark.parametrize("steps", [2, 3, 7, 199, 200, 201, 10_000, 10**6])
def test_log_spaced_steps(steps, most):
    kept = log_spaced(steps, most)
    assert kept.dtype == np.int64
    assert (kept[0], kept[-1]) == (0, steps - 1)
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= most
    # Log-spaced: t + 1 grows by no more than the common ratio, up to rounding to whole steps.
    ratio = steps ** (1 / (most - 1))
    assert (kept[1:] + 1 <= ratio * (kept[:-1] + 1.5) + 0.5).all()


def test_log_spaced_by_hand():
    # 1000**(i/3) = 1, 10, 100, 1000, counted from step 0.
    assert log_spaced(1000, 4).tolist() == [0, 9, 99, 999]
    assert log_spaced(3, 200).tolist() == [0, 1, 2]
    assert log_spaced(1, 200).tolist() == log_spaced(5, 1).tolist() == [0]
    assert log_spaced(5, 0).tolist() == []


def whole(losses):
    """The history of losses [T, K] taken in at once."""
    kept = History(len(losses), losses.shape[1])
    kept.add(0, losses)
    return kept


def some_losses(steps, models=3):
    return np.random.default_rng(steps).uniform(0.5, 1, (steps, models))


@pytest.mark.parametrize("steps", [1, 2, 3, 19, 20, 39, 40, 41, 1000])
def test_segments_add_up(steps):
    losses = some_losses(steps)
    expected = whole(losses)
    for length in (1, 3, 7, 500):
        parts = History(steps, 3)
        for first in range(0, steps, length):
            parts.add(first, losses[first : first + length])
        np.testing.assert_array_equal(parts.loss, expected.loss)
        np.testing.assert_allclose(parts.tail, expected.tail, rtol=1e-12)
        np.testing.assert_array_equal(parts.converged(), expected.converged())


@pytest.mark.parametrize("steps", [1, 5, 1000])
def test_kept_losses_are_those_of_the_kept_steps(steps):
    losses = some_losses(steps)
    kept = whole(losses)
    assert kept.loss.shape == (3, len(kept.kept))
    assert len(kept.kept) <= LOSS_STEPS
    np.testing.assert_array_equal(kept.loss, losses[kept.kept].T.astype(np.float32))


def test_tail_by_hand():
    # 40 steps: the last tenth is 36..39, its halves (36, 37) and (38, 39).
    tail = whole(np.arange(40.0)[:, None]).tail[:, :, 0]
    np.testing.assert_array_equal(tail, [[2, 73, 36**2 + 37**2], [2, 77, 38**2 + 39**2]])


def shaped(kind, steps=10_000):
    """A loss curve of a known kind."""
    t = np.arange(steps)
    noise = np.random.default_rng(1).normal(size=steps)
    return {
        "flat": np.ones(steps),
        "falling": 1 / (1 + t / steps * 10),  # by 100/9.1 - 100/11 = 1 of 11, near 9 %
        "falling slowly": 1 - 0.05 * t / steps,  # by .5 % of .95 over the last tenth
        "falling just enough": 1 - 0.2 * t / steps,  # by 2 % of .8 over the last tenth
        # Halves of the last tenth differ by .01 of .8, more than .5 %, with a standard error of
        # .1 sqrt(2/500) = .0063, so by fewer than three of them.
        "falling in the noise": 1 - 0.2 * t / steps + 0.1 * noise,
        "falling out of the noise": 1 - 0.9 * t / steps + 0.01 * noise,
        "rising": 1 + t / steps,
        "settled early": 0.1 + np.exp(-t / 500),
        "zero": np.zeros(steps),
        "not a number": np.where(t > 9_900, np.nan, 1),
        "infinite": np.where(t == 9_100, np.inf, 1),
        "not a number from the start": np.full(steps, np.nan),
        "infinite and back": np.where(t == 5, np.inf, 1),
    }[kind]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("flat", True),
        ("falling", False),
        ("falling slowly", True),
        ("falling just enough", False),
        ("falling in the noise", True),
        ("falling out of the noise", False),
        ("rising", True),
        ("settled early", True),
        ("zero", True),
        ("not a number", False),
        ("infinite", False),
        ("not a number from the start", False),
        ("infinite and back", True),
    ],
)
def test_convergence_flag(kind, expected):
    assert whole(shaped(kind)[:, None]).converged().tolist() == [expected]


def test_the_flag_turns_at_one_percent():
    """A straight fall over the last tenth by 0.9 % is rest, by 1.1 % it is movement."""
    t = np.arange(1000)
    for percent, expected in ((0.9, True), (1.1, False)):
        loss = 1 - percent / 100 * np.maximum(t - 900, 0) / 100
        assert whole(loss[:, None]).converged().tolist() == [expected]
    assert history.FALL == 0.01


def test_models_are_flagged_one_by_one():
    kinds = ("flat", "falling", "not a number", "zero")
    losses = np.stack([shaped(kind) for kind in kinds], axis=1)
    assert whole(losses).converged().tolist() == [True, False, False, True]


def test_a_loss_too_large_for_a_float32_is_infinite_without_a_warning():
    kept = whole(np.full((10, 1), 1e300))
    assert np.isinf(kept.loss).all()


def test_going_on_from_what_was_kept():
    losses = some_losses(1000)
    first, second = History(1000, 3), History(1000, 3)
    first.add(0, losses[:960])
    kept = {name: array.copy() for name, array in first.arrays().items()}
    second.restore(kept)
    second.add(960, losses[960:])
    expected = whole(losses)
    np.testing.assert_array_equal(second.loss, expected.loss)
    np.testing.assert_allclose(second.tail, expected.tail, rtol=1e-12)
    for name, array in first.arrays().items():
        np.testing.assert_array_equal(kept[name], array)  # nothing is shared


def test_without_steps_there_is_no_history_and_nothing_falls():
    empty = History(0, 3)
    assert (len(empty.kept), empty.loss.shape, empty.converged().tolist()) == (
        0,
        (3, 0),
        [True] * 3,
    )
    assert len(history.log_spaced(0, 20)) == 0
