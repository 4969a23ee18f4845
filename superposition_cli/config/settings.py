"""The settings of one cell, each with its default and its limits.

A `Setting` is what one model is: seed, model, data and train. Ranges are on the fields;
what one field demands of another is checked once all fields are sound.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from superposition_cli.config.complaints import Complaint, Strict, refuse
from superposition_cli.config.marks import (
    COMPILES,
    FIXED,
    KEYS,
    VARIES,
    compiles,
    resolves,
    varies,
)
from superposition_cli.config.vectors import (
    Entries,
    InverseVariance,
    Numbers,
    Vector,
    complement,
    resolve,
)

Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Instances = Annotated[int, Field(ge=1, le=10**8)]
Sets = Annotated[
    tuple[Annotated[tuple[int, ...], Field(strict=False, min_length=1)], ...],
    Field(strict=False, min_length=1),
]

MAX_PATTERN_FEATURES = 6  # activity patterns are listed one by one up to here
MAX_LEFT_OUT = 0.01  # share of inputs that exact_sparse may neglect
PAIR = {"feature_probability": "sparsity", "sparsity": "feature_probability"}
VECTORS = (*PAIR, "importance")
WITH_SETS = ("correlated", "anticorrelated")
NO_INPUTS = {"kind": "one_hot"}  # the data of an objective that looks at W alone


def _model_alias(kind: Any) -> Any:
    return "relu_output" if kind == "linear_hidden" else kind


class ModelSettings(Strict):
    """The architecture and its size."""

    kind: Annotated[
        Literal["linear", "relu_output", "relu_hidden", "abs"],
        BeforeValidator(_model_alias),
        compiles("model"),
    ] = "relu_output"
    n_features: Annotated[int, Field(ge=1, le=100_000), COMPILES]
    n_hidden: Annotated[int, Field(ge=1, le=100_000), COMPILES]


class DataSettings(Strict):
    """How inputs are drawn, how their errors are weighed, and what is asked of them."""

    kind: Annotated[
        Literal["uniform", "correlated", "anticorrelated", "one_hot"], compiles("data")
    ] = "uniform"
    feature_probability: Annotated[Vector | None, resolves("feature_probability")] = None
    sparsity: Annotated[Vector | None, resolves("feature_probability")] = None
    importance: Annotated[Vector, resolves("importance")] = 1.0
    low: Annotated[float, VARIES, compiles("zero_based", lambda low: low == 0)] = 0.0
    high: Annotated[float, VARIES] = 1.0
    sets: Annotated[Sets | None, compiles(read=lambda sets: tuple(map(tuple, sets or ())))] = None
    anticorrelated_marginal: Annotated[Literal["paper", "arena"], COMPILES] = "paper"
    target: Annotated[Literal["identity", "abs"], COMPILES] = "identity"

    @model_validator(mode="after")
    def _agrees(self) -> "DataSettings":
        refuse(self._disagreements())
        return self

    def _disagreements(self) -> Iterator[Complaint]:
        given = [name for name in PAIR if getattr(self, name) is not None]
        if self.kind == "one_hot":
            for name in given:
                yield Complaint((name,), "is not for one_hot data: each feature has 1/n_features")
        elif len(given) != 1:
            sentence = "needs exactly one of feature_probability and sparsity"
            yield Complaint((given[-1],) if given else (), sentence)
        if self.low >= self.high:
            yield Complaint(("low",), f"must be below high; got {self.low:g} and {self.high:g}")
        if self.kind in WITH_SETS and self.sets is None:
            yield Complaint(("sets",), f"is required for {self.kind} data")
        if self.kind not in WITH_SETS and self.sets is not None:
            yield Complaint(
                ("sets",), f"is not for {self.kind} data, only correlated and anticorrelated"
            )


def _default_weight_decay(train: dict[str, Any]) -> float:
    return 1e-2 if train.get("optimizer") == "adamw" else 0.0


def _is_positive(number: float) -> bool:
    return number > 0


def _default_momentum(train: dict[str, Any]) -> float:
    return 0.0 if train.get("optimizer") == "sgd" else 0.9


class TrainSettings(Strict):
    """How a model is trained, and how its final loss is measured."""

    objective: Annotated[Literal["sampled", "population", "exact_sparse", "packing"], COMPILES] = (
        "sampled"
    )
    order: Annotated[int, Field(ge=1, le=2), COMPILES] = 2
    optimizer: Annotated[Literal["adamw", "adam", "sgd", "lbfgs"], COMPILES] = "adamw"
    learning_rate: Annotated[Positive, VARIES] = 1e-3
    weight_decay: Annotated[NotNegative, VARIES] = Field(default_factory=_default_weight_decay)
    schedule: Annotated[Literal["constant", "linear", "cosine"], COMPILES] = "constant"
    warmup_steps: Annotated[int, Field(ge=0, le=10**8), VARIES] = 0
    momentum: Annotated[Fraction, VARIES] = Field(default_factory=_default_momentum)
    second_moment: Annotated[Fraction, VARIES] = 0.999
    epsilon: Annotated[Positive, VARIES] = 1e-8
    steps: Annotated[int, Field(ge=0, le=10**8), COMPILES] = 10_000
    batch_size: Annotated[int, Field(ge=1, le=2**20), COMPILES] = 1024
    restarts: Annotated[int, Field(ge=1, le=10**6), FIXED] = 1
    select: Annotated[Literal["best", "mean", "drop_worst"], FIXED] = "best"
    draws: Annotated[Literal["independent", "shared"], KEYS] = "independent"
    init: Annotated[Literal["xavier_normal", "notebook_stacked", "kaiming_uniform"], COMPILES] = (
        "xavier_normal"
    )
    init_instances: Annotated[Instances | None, varies(lambda count: count or 1)] = None
    init_scale: Annotated[Positive, VARIES] = 1.0
    hidden_l1: Annotated[NotNegative, VARIES, compiles("sparse_hidden", _is_positive)] = 0.0
    adversarial_norm: Annotated[NotNegative, VARIES, compiles("attacked", _is_positive)] = 0.0
    loss_reduction: Annotated[Literal["sum_features", "mean_features"], COMPILES] = "sum_features"
    eval_samples: Annotated[int, Field(ge=1, le=2**24), COMPILES] = 131_072
    dtype: Annotated[Literal["float32", "float64"], COMPILES] = "float32"
    snapshots: Annotated[int, Field(ge=0, le=1000), FIXED] = 20

    @model_validator(mode="after")
    def _agrees(self) -> "TrainSettings":
        stacked = self.init == "notebook_stacked"
        if stacked and self.init_instances is None:
            refuse([Complaint(("init_instances",), "is required for init: notebook_stacked")])
        if not stacked and self.init_instances is not None:
            refuse([Complaint(("init_instances",), "is only for init: notebook_stacked")])
        return self


class Setting(Strict):
    """What one cell is: a seed, a model, its data and its training."""

    seed: Annotated[int, Field(ge=0, le=2**32 - 1), KEYS] = 0
    model: ModelSettings
    data: DataSettings
    train: TrainSettings = Field(default_factory=TrainSettings)

    @model_validator(mode="before")
    @classmethod
    def _without_inputs(cls, written: Any) -> Any:
        """Fill in the data of an objective that draws none."""
        train = written.get("train") if isinstance(written, dict) else None
        if isinstance(train, dict) and train.get("objective") == "packing":
            return {"data": dict(NO_INPUTS), **written}
        return written

    @model_validator(mode="after")
    def _fits(self) -> "Setting":
        refuse(misfits(self.model, self.data))
        refuse(_objective_misfits(self))
        return self

    def feature_probability(self) -> Numbers:
        """Return the n probabilities as written: a feature's own, or its set's."""
        return _probability(self.model.n_features, self.data)

    def marginal(self) -> Numbers:
        """Return the n probabilities that a feature is active."""
        return _marginal(self.data, self.feature_probability())

    def importance(self) -> Numbers:
        """Return the n weights of a feature's squared error."""
        return _importance(self.model.n_features, self.data)


def misfits(model: ModelSettings, data: DataSettings) -> list[Complaint]:
    """Return what in the data does not fit the model's size, with places below the setting."""
    found = [Complaint(("data", "sets"), why) for why in _not_a_partition(model, data)]
    for name in PAIR:
        if getattr(data, name) is not None:
            found += _checked(model.n_features, data, name)
    if not found or not isinstance(data.importance, InverseVariance | Entries):
        found += _checked(model.n_features, data, "importance")
    return found or list(_uneven_sets(data, _probability(model.n_features, data)))


def out_of_range(data: DataSettings) -> list[Complaint]:
    """Return which numbers and lists in the data are wrong whatever the model's size is."""
    written = {name: getattr(data, name) for name in VECTORS}
    size = {name: len(v) if isinstance(v, tuple) else 1 for name, v in written.items()}
    plain = (name for name, v in written.items() if isinstance(v, float | tuple))
    return [complaint for name in plain for complaint in _checked(size[name], data, name)]


def _checked(n: int, data: DataSettings, name: str) -> list[Complaint]:
    """Complain about the vector `name` unless it resolves to n numbers in its range."""
    vector, place = getattr(data, name), ("data", name)
    in_range, words = RANGES[name]
    try:
        numbers = _importance(n, data) if name == "importance" else resolve(vector, n)
    except ValueError as error:
        return [Complaint(place, str(error))]
    if isinstance(vector, float):
        return [] if in_range(vector) else [Complaint(place, f"{words}; got {vector:g}")]
    for i, number in enumerate(numbers):
        if not in_range(number):
            below = (i,) if isinstance(vector, tuple) else ()
            return [Complaint((*place, *below), f"{words}; got {number:g} for feature {i}")]
    return []


def _objective_misfits(setting: Setting) -> Iterator[Complaint]:
    """Complain about an objective that does not hold for this model and data."""
    model, data, train = setting.model, setting.data, setting.train
    place = ("train", "objective")
    closed = model.kind == "linear" and data.target == "identity"
    if train.objective == "population" and model.n_features > MAX_PATTERN_FEATURES and not closed:
        why = f"population is for at most {MAX_PATTERN_FEATURES} features"
        yield Complaint(place, f"{why}; this model has {model.n_features}: use sampled")
    if train.objective == "exact_sparse":
        simple = data.kind == "uniform" and data.target == "identity" and data.low == 0
        if model.kind != "relu_output" or not simple:
            yield Complaint(place, "exact_sparse is for relu_output models of uniform data from 0")
        left_out = _tail(setting.feature_probability(), train.order)
        if left_out > MAX_LEFT_OUT:
            why = f"exact_sparse of order {train.order} leaves out {100 * left_out:.2g} % of inputs"
            yield Complaint(place, f"{why}, more than {100 * MAX_LEFT_OUT:g} %: use sampled")
    if train.optimizer == "lbfgs" and train.objective == "sampled":
        yield Complaint(("train", "optimizer"), "lbfgs needs an objective without sampling noise")
    yield from _only_sampled(train)
    if train.objective == "packing":
        yield from _packing_misfits(setting)


def _only_sampled(train: TrainSettings) -> Iterator[Complaint]:
    """Complain about what changes a sampled objective, beside another."""
    for name in ("hidden_l1", "adversarial_norm"):
        if getattr(train, name) and train.objective != "sampled":
            yield Complaint(("train", name), "is for the objective sampled only")


def _packing_misfits(setting: Setting) -> Iterator[Complaint]:
    """Complain about what means nothing, or something else, where only W counts."""
    model = setting.model
    if setting.data != DataSettings.model_validate(NO_INPUTS):
        yield Complaint(("data",), "is not for packing, which draws no inputs: leave it out")
    if model.kind != "linear":
        yield Complaint(("model", "kind"), "must be linear for packing, where only W counts")
    if model.n_features <= model.n_hidden:
        why = "must exceed n_hidden for packing: fewer vectors can be orthogonal"
        yield Complaint(("model", "n_features"), why)
    if setting.train.optimizer == "lbfgs":
        why = "lbfgs needs an objective that stays the same from step to step"
        yield Complaint(("train", "optimizer"), why)


def _tail(p: Numbers, order: int) -> float:
    """The probability that more than `order` independent features are active."""
    law = [1.0] + [0.0] * order
    for one in p:
        law = [w * (1 - one) + (law[k - 1] * one if k else 0) for k, w in enumerate(law)]
    return 1 - sum(law)


RANGES: dict[str, tuple[Callable[[float], bool], str]] = {
    "feature_probability": (lambda p: 0 < p <= 1, "must be above 0 and at most 1"),
    "sparsity": (lambda s: 0 <= s < 1, "must be at least 0 and below 1"),
    "importance": (lambda v: v >= 0, "must not be negative"),
}


def _not_a_partition(model: ModelSettings, data: DataSettings) -> Iterator[str]:
    if data.sets is None:
        return
    members = [feature for group in data.sets for feature in group]
    count = Counter(members)
    strangers = [f for f in count if not 0 <= f < model.n_features]
    missing = next((f for f in range(model.n_features) if f not in count), None)
    twice = next((f for f in count if count[f] > 1), None)
    if strangers:
        yield f"names feature {strangers[0]}; the features are 0 to {model.n_features - 1}"
    if missing is not None:
        yield f"must hold every feature once; feature {missing} is in no set"
    if twice is not None:
        yield f"must hold every feature once; feature {twice} is there twice"


def _uneven_sets(data: DataSettings, p: Numbers) -> Iterator[Complaint]:
    name = "sparsity" if data.feature_probability is None else "feature_probability"
    arena = data.kind == "anticorrelated" and data.anticorrelated_marginal == "arena"
    for group in data.sets or ():
        if len({p[i] for i in group}) > 1:
            yield Complaint(("data", name), f"must be equal within the set {list(group)[:8]}")
        elif arena and p[group[0]] * len(group) > 1:
            why = f"is too dense for arena: {p[group[0]]:g} times {len(group)} features exceeds 1"
            yield Complaint(("data", name), why)


def _probability(n: int, data: DataSettings) -> Numbers:
    if data.kind == "one_hot":
        return (1 / n,) * n
    if data.sparsity is None:
        return resolve(data.feature_probability, n)
    if isinstance(data.sparsity, float):
        return (complement(data.sparsity),) * n
    return tuple(complement(resolve(data.sparsity, n)))


def _marginal(data: DataSettings, p: Numbers) -> Numbers:
    if data.kind != "anticorrelated" or data.anticorrelated_marginal == "arena":
        return p
    size = {feature: len(group) for group in data.sets or () for feature in group}
    return tuple(probability / size[i] for i, probability in enumerate(p))


def _importance(n: int, data: DataSettings) -> Numbers:
    def inverse_variance() -> Numbers:
        first, second = (data.low + data.high) / 2, _second_moment(data.low, data.high)
        activity = _marginal(data, _probability(n, data))
        return tuple(1 / (q * second - (q * first) * (q * first)) for q in activity)

    return resolve(data.importance, n, 1.0, inverse_variance)


def _second_moment(low: float, high: float) -> float:
    """E v^2 of v ~ U[low, high]."""
    return (low * low + low * high + high * high) / 3
