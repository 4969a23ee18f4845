"""What becomes of the last feature, read off embeddings, and what a map of it shows.

The classes are those of `phases.Fate`; maps are [P, R], over feature probability and the
importance of the last feature, both ascending. Source: Elhage et al. 2022.
"""

import numpy as np
from jaxtyping import Float, Int, Real

from superposition_cli.theory.phases import Fate
from superposition_cli.toy.metrics import REPRESENTED_NORM

SUPERPOSED_ABOVE = 0.25  # squared interference met by the last feature
UNDECIDED = -1  # the class of a cell in which every model diverged
WORDS = {UNDECIDED: "undecided", **{int(fate): fate.name.lower() for fate in Fate}}


def last_feature(
    W: Real[np.ndarray, "N n m"],
) -> tuple[Float[np.ndarray, " N"], Float[np.ndarray, " N"]]:
    """Return norm and superposition of the last feature, of N models.

    The norm of W_n, and the squared interference that it meets, Σ_{j<n} (Ŵ_n·W_j)²; 0 for
    a vector of length 0. Source: Elhage et al. 2022.
    """
    W = np.asarray(W, float)
    norm = np.linalg.norm(W[:, -1], axis=1)
    direction = W[:, -1] / np.where(norm > 0, norm, 1)[:, None]
    along = np.einsum("km,kjm->kj", direction, W[:, :-1])
    return norm, np.sum(along**2, axis=1)


def classify(
    norm: Float[np.ndarray, "*shape"], superposition: Float[np.ndarray, "*shape"]
) -> Int[np.ndarray, "*shape"]:
    """Return the class of the last feature as `Fate`, elementwise, -1 where there is none.

    Ignored: norm < 1/2; else superposed: superposition > 1/4; else dedicated.
    """
    represented = np.where(superposition > SUPERPOSED_ABOVE, Fate.SUPERPOSED, Fate.DEDICATED)
    fate = np.where(norm < REPRESENTED_NORM, Fate.IGNORED, represented)
    return np.where(np.isfinite(norm), fate, UNDECIDED).astype(np.int64)


def boundary(p: Float[np.ndarray, " P"], fate: Int[np.ndarray, "P R"]) -> Float[np.ndarray, " R"]:
    """Return for each r the p up to which the last feature is superposed.

    The geometric mean of the highest p of that class and the next p: half a step of the
    grid is its error. NaN where no p or the highest p is of that class.
    """
    superposed = fate == Fate.SUPERPOSED
    highest = len(p) - 1 - superposed[::-1].argmax(axis=0)
    inside = superposed.any(axis=0) & (highest < len(p) - 1)
    following = np.minimum(highest + 1, len(p) - 1)
    return np.where(inside, np.sqrt(p[highest] * p[following]), np.nan)


def slope_jump(p: Float[np.ndarray, " P"], loss: Float[np.ndarray, " P"], at: float) -> float:
    """Return by which factor dL/dp falls at the grid point nearest to `at`.

    The slope below that point by the slope above it, from differences; NaN where one is not
    positive or p has fewer than three values. Beyond the boundary the loss turns down
    towards p = 1, so that factors elsewhere say nothing about a kink.
    """
    if len(p) < 3:
        return float("nan")
    slope = np.diff(loss) / np.diff(p)
    point = np.abs(np.log(p[1:-1] / at)).argmin()
    below, above = slope[point : point + 2]
    return float(below / above) if min(below, above) > 0 else float("nan")
