"""Which of a cell's models count, and what is made of their numbers; arrays are [cells, R]."""

import numpy as np


def select(rule: str, loss: np.ndarray, finite: np.ndarray) -> np.ndarray:
    """Say which restarts [cells, R] of each cell are kept by a selection rule.

    best: the one with the lowest loss. mean: all that did not diverge. drop_worst: those
    but the one with the highest loss (a single one is kept). Diverged models never are.
    Source of drop_worst: the ten-models-per-point rule of Elhage et al. 2022.
    """
    if rule == "mean":
        return finite
    ranked = np.where(finite, loss, np.inf)
    if rule == "best":
        first = np.arange(loss.shape[1]) == ranked.argmin(1)[:, None]
        return first & finite
    highest = np.where(finite, loss, -np.inf).argmax(1)[:, None]
    worst = (np.arange(loss.shape[1]) == highest) & (finite.sum(1) > 1)[:, None]
    return finite & ~worst


def aggregate(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the mean of `values` [cells, R] over the kept restarts; NaN where none is.

    A metric that is NaN for a kept model is left out of that cell's mean.
    """
    use = kept & np.isfinite(values)
    total = np.where(use, values, 0).sum(1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return total / use.sum(1)


def spread(values: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return the standard deviation of `values` [cells, R] over the kept restarts.

    Of a sample, with R - 1 in the divisor; NaN where fewer than two numbers are left.
    """
    use = kept & np.isfinite(values)
    count = use.sum(1)
    off = np.where(use, values - aggregate(values, kept)[:, None], 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 1, np.sqrt((off**2).sum(1) / (count - 1)), np.nan)


def best_of(loss: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return which restart of each cell [cells, R] is the kept one of least loss; NaN for none."""
    ranked = np.where(kept & np.isfinite(loss), loss, np.inf)
    return np.where(np.isfinite(ranked.min(1)), ranked.argmin(1), np.nan)
