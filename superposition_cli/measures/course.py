"""The course of one model's training: windows, jumps, swaps and plateaus.

NumPy functions of what was kept at the S snapshots of a model, on the host: not for
`jax.jit`. Shapes: step and loss [S], D and represented [S, n].
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real

WINDOWS = 50  # in a run, of equal length up to the spacing of the snapshots
JUMP = 0.1  # of D_i across a window
LATE = 0.1  # share of the steps before windows are late
NEAR = 0.03  # of D_i about a sticky value
FLAT = 0.25  # on a plateau ln L falls by less than this per decade of steps
SHORTEST = 0.1  # decades of steps that make a plateau
PLATEAUS = 4  # so many of the longest are found


class Course(NamedTuple):
    """What one model did, at its snapshots."""

    step: np.ndarray  # [S]
    D: np.ndarray  # [S, n], feature dimensionalities
    represented: np.ndarray  # [S, n], bool
    loss: np.ndarray  # [S]


class Windows(NamedTuple):
    """What one model did in its windows, [windows] each."""

    start: np.ndarray  # step
    length: np.ndarray  # in steps
    jumps: np.ndarray  # number of represented features whose D_i jumps
    fall: np.ndarray  # of ln L
    counted: np.ndarray  # bool: something is represented at one of the edges


class Plateau(NamedTuple):
    """A stretch of steps over which the loss hardly falls."""

    level: float  # mean loss: of its logarithm, over the logarithm of steps
    start: int  # step
    stop: int  # step


def edges(step: Real[np.ndarray, " S"]) -> Int[np.ndarray, " edges"]:
    """Return the snapshots nearest to the edges of 50 equal windows: rows of step [S].

    Fewer windows where snapshots are sparse; empty without a snapshot.
    """
    even = np.linspace(0, step.max(initial=0), WINDOWS + 1)
    nearest = np.abs(step - even[:, None])
    return np.unique(nearest.argmin(axis=1)) if len(step) else np.zeros(0, np.int64)


def windows(course: Course) -> Windows:
    """Count jumps, and see how far the loss falls, from edge to edge.

    A jump: D_i changes by more than .1 between the two edges of a window, at one of which
    feature i is represented.
    """
    edge = edges(course.step)
    step, D, represented = course.step[edge], course.D[edge], course.represented[edge]
    either = represented[1:] | represented[:-1]
    jumps = np.sum(either & (np.abs(np.diff(D, axis=0)) > JUMP), axis=1)
    drop = -np.diff(np.log(course.loss[edge]))
    return Windows(step[:-1], np.diff(step), jumps, drop, either.any(axis=1))


def late(found: Windows) -> Windows:
    """Count only windows that begin after the first tenth of the steps."""
    steps = found.start[-1] + found.length[-1]
    return found._replace(counted=found.counted & (found.start >= LATE * steps))


def jump_correlation(found: Sequence[Windows]) -> float | None:
    """Return the correlation of the number of jumps with the fall of ln L per step.

    Over the counted windows of all models together; None where one of the two is constant.
    """
    jumps = np.concatenate([one.jumps[one.counted] for one in found])
    rate = np.concatenate([(one.fall / one.length)[one.counted] for one in found])
    if len(jumps) < 2 or not np.ptp(jumps) or not np.ptp(rate):
        return None
    return float(np.corrcoef(jumps, rate)[0, 1])


def fall(found: Sequence[Windows], jumped: bool) -> float | None:
    """Return the mean fall of ln L over counted windows with jumps, or those without.

    None where there is no such window.
    """
    chosen = [one.fall[one.counted & ((one.jumps > 0) == jumped)] for one in found]
    return float(np.mean(np.concatenate(chosen))) if any(map(len, chosen)) else None


def sticky_time(course: Course, fractions: tuple[float, ...]) -> float | None:
    """Return the share of the time of represented features that D_i is at a sticky value.

    Within .03 of one of the fractions. Time is in steps, and a snapshot stands for those
    half-way to its neighbours. None where nothing is ever represented.
    """
    near = np.any(np.abs(course.D[..., None] - np.array(fractions)) < NEAR, axis=-1)
    halfway = (course.step[1:] + course.step[:-1]) / 2
    weight = np.diff(halfway, prepend=course.step[0], append=course.step[-1])
    present = weight @ course.represented.sum(axis=1)
    return float(weight @ (near & course.represented).sum(axis=1) / present) if present else None


def swaps(represented: Bool[np.ndarray, "S n"]) -> int:
    """Count features that lost their place to others.

    Lost: represented for a time, but neither at the first snapshot, where that is chance,
    nor at the last. It is replaced by a feature that comes in the snapshot in which it is
    gone, or later, and stays to the end; each of those replaces one.
    """
    absent = len(represented) - np.argmax(represented[::-1], axis=0)  # first row of being gone
    came = len(represented) - np.argmin(represented[::-1], axis=0)  # first row of staying
    lost = represented.any(axis=0) & ~represented[0] & ~represented[-1]
    stayed = represented[-1] & ~represented.all(axis=0)
    gone, replaced = sorted(absent[lost]), 0
    for arrival in sorted(came[stayed]):
        if replaced < len(gone) and gone[replaced] <= arrival:
            replaced += 1
    return replaced


def plateaus(step: Real[np.ndarray, " S"], loss: Float[np.ndarray, " S"]) -> list[Plateau]:
    """Return the four longest plateaus of a loss, in order of time.

    A plateau: neighbouring snapshots between which ln L falls by less than .25 per decade of
    steps, counted from 1, over a tenth of a decade at least. Length is in decades too.
    """
    decade, height = np.log10(step + 1), np.log(loss)
    flat = -np.diff(height) < FLAT * np.diff(decade)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], flat, [False]])))
    stretches = zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True)
    found = [(float(decade[b] - decade[a]), a, b) for a, b in stretches]
    longest = sorted(one for one in found if one[0] >= SHORTEST)[-PLATEAUS:]
    kept = []
    for length, a, b in sorted(longest, key=lambda one: one[1]):
        area = np.trapezoid(height[a : b + 1], decade[a : b + 1])
        kept.append(Plateau(float(np.exp(area / length)), int(step[a]), int(step[b])))
    return kept
