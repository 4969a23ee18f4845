"""The sections of a setting: model, data, train; each field with its default and its limits.

A mark on each field says what a new value does to the programs; see `marks`. What one field
demands of another of its own section is checked here, of another section in `misfits`.
"""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from superposition_cli.config import words
from superposition_cli.config.complaints import Complaint, Strict, refuse
from superposition_cli.config.marks import (
    COMPILES,
    FIXED,
    KEYS,
    VARIES,
    Part,
    compiles,
    resolves,
    varies,
)
from superposition_cli.config.vectors import Vector

Fraction = Annotated[float, Field(ge=0, lt=1)]
NotNegative = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
MOST_SNAPSHOTS = 1000  # of one model
Instances = Annotated[int, Field(ge=1, le=10**8)]
Sets = Annotated[
    tuple[Annotated[tuple[int, ...], Field(strict=False, min_length=1)], ...],
    Field(strict=False, min_length=1),
]

PAIR = {"feature_probability": "sparsity", "sparsity": "feature_probability"}
WITH_SETS, WITHOUT_SETS = ("correlated", "anticorrelated"), ("uniform", "one_hot")


def _model_alias(kind: object) -> object:
    return "relu_output" if kind == "linear_hidden" else kind


class ModelSettings(Strict):
    """The architecture and its size."""

    kind: Annotated[
        str, words.OneOf(words.MODELS), BeforeValidator(_model_alias), compiles("model")
    ] = "relu_output"
    n_features: Annotated[int, Field(ge=1, le=100_000), COMPILES]
    n_hidden: Annotated[int, Field(ge=1, le=100_000), COMPILES]


FORMS_OF_LOW = (
    compiles("zero_based", lambda low: low == 0),
    compiles("constant", lambda low, high: low == high, beside="high"),
)


class DataSettings(Strict):
    """How inputs are drawn, how their errors are weighed, and what is asked of them."""

    kind: Annotated[str, words.OneOf(words.SAMPLERS), compiles("data")] = "uniform"
    feature_probability: Annotated[Vector | None, resolves("feature_probability")] = None
    sparsity: Annotated[Vector | None, resolves("feature_probability")] = None
    importance: Annotated[Vector, resolves("importance")] = 1.0
    low: Annotated[float, VARIES, *FORMS_OF_LOW] = 0.0
    high: Annotated[float, VARIES] = 1.0
    sets: Annotated[Sets | None, resolves("sets", Part.SPEC)] = None
    anticorrelated_marginal: Annotated[Literal["paper", "arena"], COMPILES] = "paper"
    target: Annotated[str, words.OneOf(words.TARGETS), COMPILES] = "identity"

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
        if self.low > self.high:
            yield Complaint(("low",), f"must not exceed high; got {self.low:g} and {self.high:g}")
        if self.low == self.high == 0:
            yield Complaint(("high",), "must not be 0 as low is: all inputs would be 0")
        if self.kind in WITH_SETS and self.sets is None:
            yield Complaint(("sets",), f"is required for {self.kind} data")
        if self.kind in WITHOUT_SETS and self.sets is not None:
            yield Complaint(
                ("sets",), f"is not for {self.kind} data, only correlated and anticorrelated"
            )


def _default_weight_decay(train: dict[str, object]) -> float:
    return 1e-2 if train.get("optimizer") == "adamw" else 0.0


def _is_positive(number: float) -> bool:
    return number > 0


def _default_momentum(train: dict[str, object]) -> float:
    return 0.0 if train.get("optimizer") == "sgd" else 0.9


class Every(Strict):
    """Every so many updates, from the initialisation on."""

    every: Annotated[int, Field(ge=1, le=10**8)]


def _snapshots_form(value: object) -> str:
    if isinstance(value, dict | Every):
        return "<Every>"
    return "<steps>" if isinstance(value, list | tuple) else "<count>"


Snapshots = Annotated[
    Annotated[int, Field(ge=0, le=MOST_SNAPSHOTS), Tag("<count>")]
    | Annotated[Every, Tag("<Every>")]
    | Annotated[
        tuple[Annotated[int, Field(ge=0, le=10**8)], ...],
        Field(strict=False, max_length=MOST_SNAPSHOTS),
        Tag("<steps>"),
    ],
    Discriminator(_snapshots_form),
]


def _bad_snapshots(wanted: int | Every | tuple[int, ...], steps: int) -> Iterator[Complaint]:
    """Complain about snapshots that there are not, are too many, or in no order."""
    if isinstance(wanted, Every) and steps // wanted.every >= MOST_SNAPSHOTS:
        many = f"asks for {steps // wanted.every + 1:,} snapshots of {steps:,} steps"
        yield Complaint(("snapshots", "every"), f"{many}; at most {MOST_SNAPSHOTS:,} are kept")
    if isinstance(wanted, tuple) and list(wanted) != sorted(set(wanted)):
        yield Complaint(("snapshots",), "must name each step once, in their order")
    if isinstance(wanted, tuple) and max(wanted, default=0) > steps:
        yield Complaint(("snapshots",), f"names step {max(wanted):,}; the last of all is {steps:,}")


class TrainSettings(Strict):
    """How a model is trained, and how its final loss is measured."""

    objective: Annotated[str, words.OneOf(words.OBJECTIVES), COMPILES] = "sampled"
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
    snapshots: Annotated[Snapshots, FIXED] = 20

    @model_validator(mode="after")
    def _keeps_what_there_is(self) -> "TrainSettings":
        refuse(_bad_snapshots(self.snapshots, self.steps))
        return self

    @model_validator(mode="after")
    def _agrees(self) -> "TrainSettings":
        stacked = self.init == "notebook_stacked"
        if stacked and self.init_instances is None:
            refuse([Complaint(("init_instances",), "is required for init: notebook_stacked")])
        if not stacked and self.init_instances is not None:
            refuse([Complaint(("init_instances",), "is only for init: notebook_stacked")])
        return self
