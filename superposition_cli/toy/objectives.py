"""What training descends, and what it is judged by.

The loss is everywhere the paper's: L = E sum_i I_i (y_i - y'_i)^2, the sum over features
of importance times squared error, in expectation over inputs, for one model.
Source: Elhage et al. 2022.

    sampled       a fresh batch at every step
    population    the expectation itself: closed forms for up to two active features,
                  quadrature over activity patterns beyond; where these are few
    exact_sparse  the expectation over inputs with at most `order` active features
    packing       not a loss of inputs but of the vectors: their largest squared cosine, smoothed

An objective is called with the number t of the step and a key of that step's own. What judges
a model is the paper's loss, whatever it descends, unless the objective says otherwise.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from superposition_cli.theory import activity, expansion, linear, packing
from superposition_cli.theory.shapes import Inputs, Key, Scalar, SomeInputs
from superposition_cli.toy import data, models, patterns
from superposition_cli.toy.spec import Knobs, SomeParams, Spec

Step = int | Int[Array | np.ndarray, ""]


class Objective(NamedTuple):
    """What training descends.

    loss: (spec, knobs, key, t, params) -> [], at step t; the key is consumed.
    fixed: whether it is one function of the parameters at every step: nothing is drawn.
    work: (spec) -> how many inputs a step does the work of looking at; by default its batch.
    judge: (spec, knobs, params) -> [], what stands for the loss of models where it is not the
        paper's; null is then (spec, knobs) -> [], what it is compared with.
    """

    loss: Callable[[Spec, Knobs, Array, Array, SomeParams], Array]
    fixed: bool = False
    work: Callable[[Spec], int] | None = None
    judge: Callable[[Spec, Knobs, SomeParams], Array] | None = None
    null: Callable[[Spec, Knobs], Array] | None = None


def batch_loss(spec: Spec, knobs: Knobs, params: SomeParams, x: SomeInputs) -> Scalar:
    """Return the loss on a batch x [n, B]: mean over B of sum_i I_i (y_i - y'_i)^2."""
    return jnp.sum(errors(spec, knobs, params, x)) / x.shape[1]


def errors(spec: Spec, knobs: Knobs, params: SomeParams, x: SomeInputs) -> Inputs:
    """Return importance times squared error of every output on a batch x: [n, B]."""
    return _weighed(spec, knobs, x, models.MODELS[spec.model].apply(params, x))


def answer_loss(spec: Spec, knobs: Knobs, x: SomeInputs, y: SomeInputs) -> Scalar:
    """Return the loss of the answers y [n, B] to a batch x [n, B], as `batch_loss` does."""
    return jnp.sum(_weighed(spec, knobs, x, y)) / x.shape[1]


def _weighed(spec: Spec, knobs: Knobs, x: SomeInputs, y: SomeInputs) -> Inputs:
    return jnp.asarray(knobs.importance)[:, None] * (data.TARGETS[spec.target].answer(x) - y) ** 2


def sampled(spec: Spec, knobs: Knobs, key: Key, t: Step, params: SomeParams) -> Scalar:
    """Return the loss on a fresh batch of inputs; the key is consumed.

    On request inputs are attacked (`pushed`), the answers being those to the clean ones, and
    hidden_l1 E‖h‖₁ is added, h the hidden activation.

    Args:
        spec: the program; `spec.batch_size` inputs are drawn.
        knobs: of one model.
        key: of this step alone.
        t: the step's number; of no effect here.
        params: of one model.

    Returns:
        Mean over the batch of Σ_i I_i (y_i - y'_i)², with the price of hidden activations.
    """
    x = data.SAMPLERS[spec.data].draw(spec, knobs, key, spec.batch_size)
    model = models.MODELS[spec.model]
    seen = pushed(spec, knobs, params, x) if spec.attacked else x
    loss = answer_loss(spec, knobs, x, model.apply(params, seen))
    if spec.sparse_hidden:
        loss += knobs.hidden_l1 * jnp.sum(jnp.abs(model.hidden(params, seen))) / x.shape[1]
    return loss


def pushed(spec: Spec, knobs: Knobs, params: SomeParams, x: SomeInputs) -> Inputs:
    """Return inputs moved uphill along the gradient of their own loss: x [n, B] -> [n, B].

    By adversarial_norm times the length of each input. An input whose loss is level stays.
    The push itself is taken as given: nothing is differentiated through it.
    """

    def cost(seen: SomeInputs) -> Scalar:
        return jnp.sum(_weighed(spec, knobs, x, models.MODELS[spec.model].apply(params, seen)))

    uphill = jax.lax.stop_gradient(jax.grad(cost)(x))
    steepness = jnp.linalg.norm(uphill, axis=0)
    reach = knobs.adversarial_norm * jnp.linalg.norm(x, axis=0)
    return x + uphill * jnp.where(steepness > 0, reach / jnp.where(steepness > 0, steepness, 1), 0)


def population(spec: Spec, knobs: Knobs, key: Key, t: Step, params: SomeParams) -> Scalar:
    """Return the expected loss over all inputs; nothing is drawn and the key is not used."""
    return expected_loss(spec, knobs, params)


def expected_loss(spec: Spec, knobs: Knobs, params: SomeParams, finer: int = 0) -> Scalar:
    """Return the expected loss E Σ_i I_i (y_i - y'_i)², without sampling.

    Where two moments decide it, the model's own closed form. Else the sum over activity
    patterns of their chance times their loss: closed forms for up to two active features where
    the model has some and magnitudes begin at zero, Gauss-Legendre nodes otherwise.

    Args:
        spec: the program; `has_expected_loss` must hold of it.
        knobs: of one model.
        params: of one model.
        finer: nodes per axis beyond those that training uses; `patterns.COARSER` for fewer.

    Returns:
        One number in units of the loss, without weight decay or other prices.

    Raises:
        ValueError: the patterns of activity are not known, or too many.
    """
    if (of_moments := _law_of_moments(spec)) is not None:
        return of_moments(params, knobs.importance, *data.moments(spec, knobs))
    if (why := without_patterns(spec)) is not None:
        raise ValueError(why)
    active, chance = patterns.patterns(spec, knobs)
    rest = _quadrature(spec, knobs, params, chance, finer)
    closed = _closed_forms(spec)
    return _few_active(closed, knobs, params, active, chance) + rest if closed else rest


def affordable(spec: Spec, most: int) -> int:
    """Return the largest `finer` of `expected_loss` that takes at most so many nodes."""
    return 0 if is_linear(spec) else patterns.affordable(spec, _fewest(spec), most)


def work(spec: Spec, finer: int) -> int:
    """Return how many patterns and inputs `expected_loss` does the work of looking at."""
    return 1 if is_linear(spec) else patterns.work(spec, _closed_forms(spec) is not None, finer)


def _fewest(spec: Spec) -> int:
    """The active features from which on patterns are left to quadrature."""
    return activity.CLOSED + 1 if _closed_forms(spec) else 0


def has_expected_loss(spec: Spec) -> bool:
    """Say whether the expected loss can be computed without sampling."""
    return is_linear(spec) or without_patterns(spec) is None


def without_patterns(spec: Spec) -> str | None:
    """Say why a model's loss is not a sum over patterns of activity, if so."""
    return patterns.unlisted(spec, _closed_forms(spec) is not None)


def is_linear(spec: Spec) -> bool:
    """Say whether only the first two moments of the data matter, and are known."""
    return _law_of_moments(spec) is not None


def _law_of_moments(spec: Spec) -> Callable[[SomeParams, Array, Array, Array], Array] | None:
    known = spec.target == "identity" and data.has_moments(spec)
    return models.MODELS[spec.model].of_moments if known else None


def _closed_forms(spec: Spec) -> models.FewActive | None:
    apply = spec.target == "identity" and spec.zero_based
    return models.MODELS[spec.model].few_active if apply else None


def _few_active(
    closed: models.FewActive,
    knobs: Knobs,
    params: SomeParams,
    active: Bool[np.ndarray, "P n"],
    chance: Float[Array, " P"],
) -> Scalar:
    """The share of patterns with at most two active features, magnitudes in U[0, high].

    In units of `high` magnitudes are U[0, 1] and the bias is b / high.
    """
    W, b = jnp.asarray(params["W"]), jnp.asarray(params["b"]) / knobs.high
    importance = jnp.asarray(knobs.importance)
    count = active.sum(1)
    one = np.flatnonzero(count == 1)
    total = jnp.sum(chance[one] * closed.one(W, b, importance)[active[one].argmax(1)])
    total += jnp.sum(chance[count == 0]) * closed.none(b, importance)
    two = np.flatnonzero(count == 2)
    if len(two):
        j, k = np.triu_indices(active.shape[1], 1)
        pair = np.zeros((active.shape[1], active.shape[1]), int)
        pair[j, k] = np.arange(len(j))
        both = pair[tuple(active[two].nonzero()[1].reshape(-1, 2).T)]
        total += jnp.sum(chance[two] * closed.two(W, b, importance)[both])
    return total * knobs.high**2


def _quadrature(
    spec: Spec, knobs: Knobs, params: SomeParams, chance: Float[Array, " P"], finer: int
) -> Scalar:
    """The share of the patterns without closed forms, by their nodes."""
    rule = patterns.nodes(spec, _fewest(spec), finer)
    if not len(rule.weight):
        return jnp.zeros((), chance.dtype)
    magnitude = knobs.low + (knobs.high - knobs.low) * rule.magnitude.astype(chance.dtype)
    total = errors(spec, knobs, params, jnp.where(rule.active, magnitude, 0)).sum(0)
    return jnp.sum(chance[rule.pattern] * rule.weight.astype(chance.dtype) * total)


def exact_sparse(spec: Spec, knobs: Knobs, key: Key, t: Step, params: SomeParams) -> Scalar:
    """Return the part of the expected loss with at most `spec.order` active features.

    For independent features, n p << 1 and `relu_output`; nothing is drawn.
    """
    W, b = jnp.asarray(params["W"]), jnp.asarray(params["b"]) / knobs.high
    scaled = (W, b, jnp.asarray(knobs.importance), jnp.asarray(knobs.feature_probability))
    return expansion.expansion(*scaled, order=spec.order) * knobs.high**2


def soft_packing(spec: Spec, knobs: Knobs, key: Key, t: Step, params: SomeParams) -> Scalar:
    """Return the smoothed largest squared cosine of two rows of W, sharper at every step."""
    return packing.soft_squared_coherence(
        jnp.asarray(params["W"]), packing.sharpness(t, spec.steps)
    )


def coherence(spec: Spec, knobs: Knobs, params: SomeParams) -> Scalar:
    """Return the squared coherence of the rows of W, which judges a packing."""
    return packing.squared_coherence(jnp.asarray(params["W"]))


def least_coherence(spec: Spec, knobs: Knobs) -> Scalar:
    """Return the square of the Welch bound, the least that a packing's loss may be."""
    n = jnp.asarray(spec.n_features, knobs.importance.dtype)
    return linear.welch_bound(n, spec.n_hidden) ** 2


def null_loss(spec: Spec, knobs: Knobs) -> Scalar:
    """Return the loss of answering the mean, sum_i I_i var(y_i).

    For a packing it is `least_coherence`. Raises `ValueError` where `has_null_loss` is false.
    """
    if (null := OBJECTIVES[spec.objective].null) is not None:
        return null(spec, knobs)
    return linear.null_loss(knobs.importance, data.variance(spec, knobs))


def has_null_loss(spec: Spec) -> bool:
    """Say whether the null loss is known without sampling."""
    return OBJECTIVES[spec.objective].null is not None or data.has_moments(spec)


def judged_by(spec: Spec) -> str:
    """Say what the losses of models are: expectations, means over samples, or a measure of W."""
    if OBJECTIVES[spec.objective].judge is not None:
        return "measured on the parameters alone"
    if has_expected_loss(spec):
        return "expected, without sampling"
    return f"means over {spec.eval_samples:,} samples"


def sampled_for_want(spec: Spec) -> list[str]:
    """Say which numbers come from samples because data or target come without an exact law."""
    said = []
    closed = _closed_forms(spec) is not None
    if not has_expected_loss(spec) and patterns.excess(spec, closed) is None:
        why = without_patterns(spec)
        said.append(f"{why}: losses are {judged_by(spec)}, off by loss_error")
    if not has_null_loss(spec):
        why = f"{spec.data} data with the target {spec.target} come without moments"
        said.append(f"{why}: null_loss and loss_normalised are of {spec.eval_samples:,} samples")
    return said


def _population_work(spec: Spec) -> int:
    """Closed forms cost about as much as the nodes that they stand for."""
    return 1 if is_linear(spec) else patterns.counted(spec)


def _pairs_work(spec: Spec) -> int:
    """The expansion evaluates every output of every pair of active features at six points."""
    return 3 * spec.n_features**2


OBJECTIVES: dict[str, Objective] = {
    "sampled": Objective(sampled),
    "population": Objective(population, fixed=True, work=_population_work),
    "exact_sparse": Objective(exact_sparse, fixed=True, work=_pairs_work),
    "packing": Objective(soft_packing, judge=coherence, null=least_coherence),
}
