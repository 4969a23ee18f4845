"""The vocabulary: what a program is compiled for, what varies inside it, what it carries.

Axis letters, used in every docstring:

    n  features            m  hidden dimensions (n_hidden)
    B  samples in a batch  K  models advanced together
    T  training steps      s  sets of features

Batch is last: x is [n, B], W is [n, m], h = Wᵀx is [m, B]. The maths is written for one
model; K appears only where `jax.vmap` puts it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import optax
from jax import Array

Params = dict[str, Array]
SomeParams = Mapping[str, Array | np.ndarray]  # of either library


@dataclass(frozen=True)
class Spec:
    """The static settings: two models with equal `Spec` share one compiled program."""

    model: str
    n_features: int
    n_hidden: int
    data: str
    sets: tuple[tuple[int, ...], ...]
    anticorrelated_marginal: str
    target: str
    zero_based: bool  # magnitudes begin at 0, so that closed forms apply
    constant: bool  # low is high: every active feature has that one value
    objective: str
    order: int  # of the exact_sparse objective: most features active at once
    sparse_hidden: bool  # hidden_l1 is above 0
    attacked: bool  # adversarial_norm is above 0
    loss_reduction: str
    optimizer: str
    schedule: str
    init: str
    batch_size: int
    steps: int
    eval_samples: int
    dtype: str


class Knobs(NamedTuple):
    """The traced settings of one model: a new value never compiles a new program."""

    feature_probability: Array  # [n], probability that a feature is active: 1 - sparsity
    importance: Array  # [n], weight of a feature's squared error in the loss
    low: Array  # [], an active feature is drawn from U[low, high]
    high: Array  # []
    learning_rate: Array  # []
    weight_decay: Array  # [], decoupled for adamw, added to the gradient for adam and sgd
    warmup_steps: Array  # [], the learning rate rises linearly over the first so many
    momentum: Array  # [], first-moment decay (beta1 of Adam, heavy ball of SGD)
    second_moment: Array  # [], second-moment decay (beta2 of Adam)
    epsilon: Array  # [], added to the root of the second moment
    init_instances: Array  # [], stacked models whose joint initialisation is imitated
    init_scale: Array  # [], factor on the standard deviation that weights begin with
    hidden_l1: Array  # [], price of the mean sum of |h| in what is descended
    adversarial_norm: Array  # [], length of the push on training inputs, by that of the input


def any_knobs(spec: Spec) -> Knobs:
    """Return knobs of the right shapes, all 1, for what follows from the spec alone."""
    vectors = ("feature_probability", "importance")
    shapes = {name: (spec.n_features,) if name in vectors else () for name in Knobs._fields}
    return Knobs(*(np.ones(shapes[name], spec.dtype) for name in Knobs._fields))  # type: ignore[arg-type]


class State(NamedTuple):
    """What training carries from step to step; arrays only."""

    params: Params
    opt: optax.OptState
    finite_steps: Array  # [], int32: steps taken before loss or parameters became non-finite
