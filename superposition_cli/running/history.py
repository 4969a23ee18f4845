"""What is kept of a training run as it goes by: the loss at log-spaced steps, and its tail."""

import numpy as np

from superposition_cli.config.sections import Every
from superposition_cli.running.fsio import Arrays

LOSS_STEPS = 200
FALL = 0.01  # a loss that falls by more than this over the last tenth is still moving
STANDARD_ERRORS = 3.0  # ... if the fall also stands out of the batch noise by so many


def log_spaced(steps: int, most: int) -> np.ndarray:
    """Return at most `most` distinct log-spaced steps in [0, steps), first and last included."""
    if most <= 0 or steps == 0:
        return np.zeros(0, np.int64)
    if most == 1 or steps == 1:
        return np.zeros(1, np.int64)
    spaced = np.geomspace(1, steps, most)
    return np.unique(np.rint(spaced).astype(np.int64) - 1)


def snapshot_steps(steps: int, wanted: int | Every | tuple[int, ...]) -> np.ndarray:
    """Return the steps before whose update parameters are kept; step `steps` is the end.

    A count is spread as by `log_spaced`; `Every` begins at 0 and takes in the end where it falls
    on it; steps that are named are as they are.
    """
    if isinstance(wanted, Every):
        return np.arange(0, steps + 1, wanted.every)
    return np.array(wanted, np.int64) if isinstance(wanted, tuple) else log_spaced(steps, wanted)


class History:
    """The loss of K models at few steps, and running sums over the last tenth of training.

    The tail is kept as count, sum and sum of squares of the first and the second half of
    the last tenth, which is all that the convergence flag needs.
    """

    def __init__(self, steps: int, n_models: int) -> None:
        self.steps = steps
        self.kept = log_spaced(steps, LOSS_STEPS)
        self.loss = np.full((n_models, len(self.kept)), np.nan, np.float32)
        self.tail = np.zeros((2, 3, n_models))

    def add(self, first: int, loss: np.ndarray) -> None:
        """Take in the losses [T, K] of steps first .. first + T - 1."""
        last = first + len(loss)
        within = (self.kept >= first) & (self.kept < last)
        with np.errstate(over="ignore"):
            self.loss[:, within] = loss[self.kept[within] - first].T
        half = max(1, self.steps // 20)
        for index, start in enumerate((self.steps - 2 * half, self.steps - half)):
            piece = loss[max(start - first, 0) : max(start + half - first, 0)].astype(np.float64)
            with np.errstate(invalid="ignore", over="ignore"):
                self.tail[index] += (
                    np.full(loss.shape[1], len(piece)),
                    piece.sum(0),
                    (piece**2).sum(0),
                )

    def converged(self) -> np.ndarray:
        """Say for each model [K] whether its loss has stopped falling.

        Not converged: the means of the two halves of the last tenth of training differ by
        more than 0.5 % (so the loss falls by more than 1 % over the tenth), and by more than
        three standard errors of that difference. Never true of a non-finite loss, always
        true where no step was taken.
        """
        if self.steps == 0:
            return np.ones(len(self.loss), bool)
        with np.errstate(all="ignore"):
            count, total, squares = self.tail[:, 0], self.tail[:, 1], self.tail[:, 2]
            mean = total / count
            variance = np.maximum(squares / count - mean**2, 0)
            error = np.sqrt((variance / count).sum(0))
            fall = mean[0] - mean[1]
            moving = (fall > FALL / 2 * np.abs(mean[0])) & (fall > STANDARD_ERRORS * error)
        return np.isfinite(mean).all(0) & ~moving

    def arrays(self) -> Arrays:
        """Return what has to be kept to go on later."""
        return {"history.loss": self.loss, "history.tail": self.tail}

    def restore(self, arrays: Arrays) -> None:
        """Go on from what `arrays` returned."""
        self.loss = arrays["history.loss"].copy()
        self.tail = arrays["history.tail"].copy()
