"""The quality gate: what the trainers reached, judged by one NumPy function for all of them.

Shapes: W [K, n, m], b [K, n], importance [K, n], density [K]. Nothing here imports JAX or
PyTorch, so no trainer is judged by its own arithmetic.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from superposition_cli.bench import Workload

SAMPLES = 4096
TOLERANCE = 0.03
COLLAPSED = 1e-30  # ||W||_F^2 of a model that died is taken as this, so that D* stays a number
# Models trained and steps taken: many models before many steps, because the losses of single
# models vary by chance far more than the tolerance; a few minutes in all, most of them spent
# in the slow trainers.
PLAN = {
    "intro": (60, 1000),
    "small": (60, 500),
    "demo": (20, 200),
    "geometry": (10, 100),
    "phase": (500, 500),
}
DEFAULT_PLAN = (20, 500)


class Quality(NamedTuple):
    """What one trainer reached, per model [K]."""

    loss: np.ndarray  # sum over features of importance times squared error, mean over samples
    normalised_loss: np.ndarray  # the same over the loss of predicting every feature's mean
    d_star: np.ndarray  # m / ||W||_F^2


class Verdict(NamedTuple):
    """How ours compares with the reference, model by model."""

    ratio: float  # geometric mean over models of ours / reference, normalised losses
    standard_error: float  # of that ratio, from its spread over the models
    outcome: str  # pass, FAIL or unclear


def select(workload: "Workload", models: int) -> "Workload":
    """Return so many models evenly along the workload's own, interpolated where it has fewer.

    Density is interpolated geometrically, importance linearly.
    """
    last = workload.models - 1
    place = np.linspace(0, last, models)
    if models <= workload.models:
        place = place.round()
    density = np.log(np.asarray(workload.feature_probability, np.float64))
    importance = np.asarray(workload.importance, np.float64)
    known = np.arange(workload.models)
    columns = [np.interp(place, known, column) for column in importance.T]
    return workload._replace(
        models=models,
        feature_probability=tuple(np.exp(np.interp(place, known, density)).tolist()),
        importance=tuple(map(tuple, np.stack(columns, axis=1).tolist())),
    )


def losses(
    weights: np.ndarray,
    bias: np.ndarray,
    density: np.ndarray,
    importance: np.ndarray,
    samples: int = SAMPLES,
    seed: int = 20_000,
) -> np.ndarray:
    """Return each model's loss [K] on fresh samples, which depend on the seed alone."""
    generator = np.random.default_rng(seed)
    result = np.empty(len(weights))
    for k, (w, b, p, weight) in enumerate(zip(weights, bias, density, importance, strict=True)):
        shape = (samples, len(b))
        active = generator.random(shape) < p
        x = np.where(active, generator.random(shape), 0.0)
        output = np.maximum(x @ w @ w.T + b, 0.0)
        result[k] = np.mean((x - output) ** 2 @ weight)
    return result


def null_losses(density: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """Return the loss [K] of predicting the mean: importance times p/3 - p^2/4, summed."""
    variance = density / 3 - density**2 / 4
    return variance * importance.sum(axis=1)


def judge(workload: "Workload", weights: np.ndarray, bias: np.ndarray) -> Quality:
    """Return what one trainer's final parameters are worth, per model."""
    density = np.asarray(workload.feature_probability, np.float64)
    importance = np.asarray(workload.importance, np.float64)
    weights, bias = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
    value = losses(weights, bias, density, importance)
    norms = np.maximum((weights**2).sum(axis=(1, 2)), COLLAPSED)
    return Quality(value, value / null_losses(density, importance), workload.n_hidden / norms)


def gate(ours: np.ndarray, reference: np.ndarray, tolerance: float = TOLERANCE) -> Verdict:
    """Compare normalised losses [K] of models that differ in seed alone.

    Pass: their typical ratio is within `tolerance` of 1. FAIL: it is outside by more than two
    standard errors, or a loss is not finite and positive. Unclear: outside, but by no more
    than chance explains. Two-sided: a much lower loss also means another problem was solved.
    """
    ours, reference = np.asarray(ours, np.float64), np.asarray(reference, np.float64)
    both = np.concatenate([ours, reference])
    if not (np.isfinite(both).all() and (both > 0).all()):
        return Verdict(math.nan, math.nan, "FAIL")
    difference = np.log(ours / reference)
    ratio = math.exp(difference.mean())
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    error = ratio * float(spread) / math.sqrt(len(difference))
    excess = abs(ratio - 1) - tolerance
    outcome = "pass" if excess <= 0 else "unclear" if excess <= 2 * error else "FAIL"
    return Verdict(ratio, error, outcome)
