"""How inputs are drawn, and what is asked of them.

An active feature is drawn from U[low, high], for low = high the one value it may have; a sampler
decides which features are active together. `SAMPLERS` lists the ways to draw, `TARGETS` what the
model should answer. Both say which exact laws they come with; what needs a law that is not there
is measured on samples.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Real

from superposition_cli.theory import activity
from superposition_cli.theory.shapes import (
    Inputs,
    Key,
    PerFeature,
    PerPair,
    Scalar,
    Some,
    SomeInputs,
    SomePerFeature,
)
from superposition_cli.toy import rng
from superposition_cli.toy.spec import Knobs, Spec


class Sampler(NamedTuple):
    """A law of the input: how to draw it, and which features are active together.

    draw: (spec, knobs, key, B) -> x [n, B]; the key is consumed.
    marginal: (spec, knobs) -> [n], the probability that a feature is active.
    joint: (spec, knobs) -> [n, n], the probability that two features are active together
        (off the diagonal).
    patterns: (spec, knobs) -> (mask [P, n] of bool, chance [P]), every pattern of activity
        that can occur and its probability; the mask is a NumPy array that follows from the
        spec alone. Only where the magnitudes of a pattern are independent U[low, high].
        Without it there is no expected loss.
    choices: (n, sets) -> the independent choices that make a pattern, see `theory.activity`; by
        them patterns are counted before they are listed. Without it every subset is counted.
    moments: (spec, knobs) -> `Moments` of the target; asked only where the target has moments
        of its own. Without it null loss and normalised loss come from samples.
    variance: (spec, knobs) -> [n], the diagonal of that covariance where it is known without
        the n² others, which many features have no room for.
    """

    draw: Callable[[Spec, Knobs, Array, int], Array]
    marginal: Callable[[Spec, Knobs], Some]
    joint: Callable[[Spec, Knobs], Array]
    patterns: "Callable[[Spec, Knobs], Patterns] | None" = None
    moments: "Callable[[Spec, Knobs], Moments] | None" = None
    variance: Callable[[Spec, Knobs], Array] | None = None
    choices: activity.Choices | None = None


SomeNumber = Real[ArrayLike, ""]


class Patterns(NamedTuple):
    """Which features are active together: the patterns there are, and how often each occurs."""

    mask: np.ndarray  # [P, n] bool, fewest active features first
    chance: Array  # [P], adding up to 1


class Moments(NamedTuple):
    """First and second moments of the target y: mean [n] and covariance [n, n]."""

    mean: Array
    covariance: Array


def moments(spec: Spec, knobs: Knobs) -> Moments:
    """Return the exact moments of the target.

    Raises `ValueError` where the sampler or the target comes without them.
    """
    law = SAMPLERS[spec.data].moments
    if law is None or TARGETS[spec.target].moments is None:
        raise ValueError(f"{spec.data} data with the target {spec.target} have no exact moments")
    return law(spec, knobs)


def variance(spec: Spec, knobs: Knobs) -> PerFeature:
    """Return the exact variance of each feature's target: [n].

    Raises `ValueError` as `moments` does.
    """
    law = SAMPLERS[spec.data].variance
    if law is None or not has_moments(spec):
        return jnp.diagonal(moments(spec, knobs).covariance)
    return law(spec, knobs)


def has_moments(spec: Spec) -> bool:
    """Say whether the moments of the target are known exactly."""
    return SAMPLERS[spec.data].moments is not None and TARGETS[spec.target].moments is not None


def moments_of_uniform(spec: Spec, knobs: Knobs) -> Moments:
    """Return the exact moments of a target that has some, where active features are U[low, high].

    With q the marginal activity, J the joint one, and e1, e2 the first two moments of the
    magnitude of an active feature: mean = q e1, cov_ii = q e2 - (q e1)^2,
    cov_ij = (J_ij - q_i q_j) e1^2. For U[0, 1] and independent features the variance is
    p/3 - p^2/4.
    """
    sampler, of_magnitude = SAMPLERS[spec.data], TARGETS[spec.target].moments
    assert of_magnitude is not None
    first, _ = of_magnitude(knobs.low, knobs.high)
    q = jnp.asarray(sampler.marginal(spec, knobs))
    covariance = (sampler.joint(spec, knobs) - jnp.outer(q, q)) * first**2
    itself = jnp.eye(spec.n_features, dtype=bool)
    return Moments(q * first, jnp.where(itself, variance_of_uniform(spec, knobs), covariance))


def variance_of_uniform(spec: Spec, knobs: Knobs) -> PerFeature:
    """Return the variances alone of `moments_of_uniform`, without any pair: [n]."""
    of_magnitude = TARGETS[spec.target].moments
    assert of_magnitude is not None
    first, second = of_magnitude(knobs.low, knobs.high)
    q = jnp.asarray(SAMPLERS[spec.data].marginal(spec, knobs))
    return q * second - (q * first) ** 2


def draw_independent(spec: Spec, knobs: Knobs, key: Key, batch: int) -> Inputs:
    """Draw x [n, B] with independent features from one uniform per entry.

    x = low + (high - low) u/p where u <= p, else 0, has exactly the law
    Bernoulli(p) * U[low, high], because u/p given u <= p is uniform.
    Source: Elhage et al. 2022 (the law).
    """
    p = knobs.feature_probability[:, None]
    u = rng.uniform(key, (spec.n_features, batch), p.dtype)
    return jnp.where(u <= p, knobs.low + u * ((knobs.high - knobs.low) / p), 0)


def draw_correlated(spec: Spec, knobs: Knobs, key: Key, batch: int) -> Inputs:
    """Draw x [n, B] where the features of a set are all active or all zero.

    One Bernoulli(p) per set, independent magnitudes. Source: Elhage et al. 2022.
    """
    p = knobs.feature_probability[:, None]
    of_sets, of_features = rng.parts(key, 2)
    activity = rng.uniform(of_sets, (len(spec.sets), batch), p.dtype)
    magnitude = rng.uniform(of_features, (spec.n_features, batch), p.dtype)
    active = activity[_set_of_feature(spec.sets)] <= p
    return jnp.where(active, knobs.low + magnitude * (knobs.high - knobs.low), 0)


def draw_anticorrelated(spec: Spec, knobs: Knobs, key: Key, batch: int) -> Inputs:
    """Draw x [n, B] where at most one feature of a set is active, chosen uniformly.

    One uniform per set: with P the probability that the set is active and k its size,
    u <= P decides activity, floor(k u/P) the member and frac(k u/P) the magnitude. The
    magnitude keeps 24 - log2(k) bits in float32. Source: Elhage et al. 2022.
    """
    groups = sets(spec)
    place, size = _place_in_set(groups), _size_of_set(groups)
    p = _set_probability(spec, knobs)[:, None]
    u = rng.uniform(key, (len(groups), batch), p.dtype)[_set_of_feature(groups)]
    position = u * (size[:, None] / p)
    member = jnp.minimum(jnp.floor(position), size[:, None] - 1)
    magnitude = knobs.low + (position - member) * (knobs.high - knobs.low)
    return jnp.where((u <= p) & (member == place[:, None]), magnitude, 0)


def sets(spec: Spec) -> tuple[tuple[int, ...], ...]:
    """One-hot data is one anticorrelated set of all features that is always active."""
    return (tuple(range(spec.n_features)),) if spec.data == "one_hot" else spec.sets


def _set_probability(spec: Spec, knobs: Knobs) -> SomePerFeature:
    """The probability [n] that the set a feature belongs to is active."""
    p = knobs.feature_probability
    if spec.data == "one_hot":
        return jnp.ones_like(p)
    return p * _size_of_set(spec.sets) if spec.anticorrelated_marginal == "arena" else p


def _set_of_feature(groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    features = sorted(
        (feature, index) for index, members in enumerate(groups) for feature in members
    )
    return np.array([index for _, index in features])


def _place_in_set(groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    features = sorted(
        (feature, place) for members in groups for place, feature in enumerate(members)
    )
    return np.array([place for _, place in features], np.float32)


def _size_of_set(groups: tuple[tuple[int, ...], ...]) -> np.ndarray:
    return np.array([len(groups[index]) for index in _set_of_feature(groups)], np.float32)


def _same_set(spec: Spec) -> np.ndarray:
    owner = _set_of_feature(sets(spec))
    return owner[:, None] == owner[None, :]


def _own_probability(spec: Spec, knobs: Knobs) -> SomePerFeature:
    return knobs.feature_probability


def _anticorrelated_marginal(spec: Spec, knobs: Knobs) -> SomePerFeature:
    return _set_probability(spec, knobs) / _size_of_set(sets(spec))


def _joint_independent(spec: Spec, knobs: Knobs) -> PerPair:
    return jnp.outer(knobs.feature_probability, knobs.feature_probability)


def _joint_correlated(spec: Spec, knobs: Knobs) -> PerPair:
    p = knobs.feature_probability
    return jnp.where(_same_set(spec), p[:, None], _joint_independent(spec, knobs))


def _joint_anticorrelated(spec: Spec, knobs: Knobs) -> PerPair:
    q = jnp.asarray(_anticorrelated_marginal(spec, knobs))
    return jnp.where(_same_set(spec), 0, jnp.outer(q, q))


def patterns_of_independent(spec: Spec, knobs: Knobs) -> Patterns:
    """Return all subsets of the features, each with chance Π_i p_i or 1 - p_i."""
    mask = _listed(spec.n_features, [[(), (i,)] for i in range(spec.n_features)])
    p = knobs.feature_probability
    return Patterns(mask, jnp.prod(jnp.where(mask, p, 1 - p), axis=1))


def patterns_of_correlated(spec: Spec, knobs: Knobs) -> Patterns:
    """Return every choice of sets that are on, each with its own p."""
    mask = _listed(spec.n_features, [[(), members] for members in spec.sets])
    chance = jnp.ones(len(mask), knobs.importance.dtype)
    for first, *_ in spec.sets:
        p = knobs.feature_probability[first]
        chance *= jnp.where(mask[:, first], p, 1 - p)
    return Patterns(mask, chance)


def patterns_of_exclusive(spec: Spec, knobs: Knobs) -> Patterns:
    """Return every choice of one member or none from each set; of one-hot data never none.

    Of a set with activity P and k members, one member is on with P/k.
    """
    silent: list[tuple[int, ...]] = [] if spec.data == "one_hot" else [()]
    groups, q = sets(spec), _anticorrelated_marginal(spec, knobs)
    mask = _listed(spec.n_features, [[*silent, *((i,) for i in group)] for group in groups])
    chance = jnp.ones(len(mask), knobs.importance.dtype)
    for group in groups:
        p = q[group[0]]
        chance *= jnp.where(mask[:, list(group)].any(1), p, 1 - len(group) * p)
    return Patterns(mask, chance)


def _listed(n: int, choices: Sequence[Sequence[tuple[int, ...]]]) -> np.ndarray:
    """All ways to take one choice, the features that are on, from each: [P, n], fewest on first."""
    taken = [list(itertools.chain(*picked)) for picked in itertools.product(*choices)]
    mask = np.zeros((len(taken), n), bool)
    for row, on in zip(mask, taken, strict=True):
        row[on] = True
    return mask[np.lexsort((*mask.T[::-1], mask.sum(1)))]


class Target(NamedTuple):
    """What the model should answer.

    answer: x [n, B] -> y [n, B].
    moments: (low, high) -> first and second moment of the answer to U[low, high], or no law.
    """

    answer: Callable[[Some], Some]
    moments: Callable[[Some, Some], tuple[Some, Some]] | None = None


def itself(x: SomeInputs) -> SomeInputs:
    """Ask for the input itself: y = x."""
    return x


def magnitude(x: SomeInputs) -> SomeInputs:
    """Ask for absolute values: y = |x|."""
    return jnp.abs(x)


def _identity_moments(low: SomeNumber, high: SomeNumber) -> tuple[Scalar, Scalar]:
    low, high = jnp.asarray(low), jnp.asarray(high)
    return (low + high) / 2, (low**2 + low * high + high**2) / 3


def _abs_moments(low: SomeNumber, high: SomeNumber) -> tuple[Scalar, Scalar]:
    """E|v| is the integral of |v| over [low, high] by its length; E|v|^2 = E v^2."""
    low, high = jnp.asarray(low), jnp.asarray(high)
    length = jnp.where(high > low, high - low, 1)
    mean = (high * jnp.abs(high) - low * jnp.abs(low)) / (2 * length)
    return jnp.where(high > low, mean, jnp.abs(high)), _identity_moments(low, high)[1]


SAMPLERS: dict[str, Sampler] = {
    "uniform": Sampler(
        draw_independent,
        _own_probability,
        _joint_independent,
        patterns_of_independent,
        moments_of_uniform,
        variance_of_uniform,
        activity.independent,
    ),
    "correlated": Sampler(
        draw_correlated,
        _own_probability,
        _joint_correlated,
        patterns_of_correlated,
        moments_of_uniform,
        variance_of_uniform,
        activity.tied,
    ),
    "anticorrelated": Sampler(
        draw_anticorrelated,
        _anticorrelated_marginal,
        _joint_anticorrelated,
        patterns_of_exclusive,
        moments_of_uniform,
        variance_of_uniform,
        activity.exclusive,
    ),
    "one_hot": Sampler(
        draw_anticorrelated,
        _anticorrelated_marginal,
        _joint_anticorrelated,
        patterns_of_exclusive,
        moments_of_uniform,
        variance_of_uniform,
        activity.single,
    ),
}

TARGETS: dict[str, Target] = {
    "identity": Target(itself, _identity_moments),
    "abs": Target(magnitude, _abs_moments),
}
