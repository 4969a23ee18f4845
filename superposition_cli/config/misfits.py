"""What the sections of a setting demand of one another, and the numbers that vectors stand for."""

from collections import Counter
from collections.abc import Callable, Iterator

from superposition_cli.config import words
from superposition_cli.config.complaints import Complaint
from superposition_cli.config.sections import (
    PAIR,
    WITH_SETS,
    DataSettings,
    ModelSettings,
    TrainSettings,
)
from superposition_cli.config.vectors import Entries, InverseVariance, Numbers, complement, resolve
from superposition_cli.theory import activity

Groups = tuple[tuple[int, ...], ...]
MAX_LEFT_OUT = 0.01  # share of inputs that exact_sparse may neglect
MOST_DRAWN = 2**32  # numbers that one key yields
VECTORS = (*PAIR, "importance")
NO_INPUTS = {"kind": "one_hot"}  # the data of an objective that looks at W alone


def misfits(model: ModelSettings, data: DataSettings) -> list[Complaint]:
    """Return what in the data does not fit the model's size, with places below the setting."""
    found = [Complaint(("data", "sets"), why) for why in _bad_sets(model, data)]
    for name in PAIR:
        if getattr(data, name) is not None:
            found += _checked(model.n_features, data, name)
    if not found or not isinstance(data.importance, InverseVariance | Entries):
        found += _checked(model.n_features, data, "importance")
    found = found or list(_uneven_sets(data, probability(model.n_features, data)))
    return found or list(_without_variance(model, data))


def out_of_range(data: DataSettings) -> list[Complaint]:
    """Return which numbers and lists in the data are wrong whatever the model's size is."""
    written = {name: getattr(data, name) for name in VECTORS}
    size = {name: len(v) if isinstance(v, tuple) else 1 for name, v in written.items()}
    plain = (name for name, v in written.items() if isinstance(v, float | tuple))
    return [complaint for name in plain for complaint in _checked(size[name], data, name)]


def _checked(n: int, data: DataSettings, name: str) -> list[Complaint]:
    """Complain about the vector `name` unless it resolves to n numbers in its range."""
    vector, place = getattr(data, name), ("data", name)
    in_range, must = RANGES[name]
    try:
        numbers = weights(n, data) if name == "importance" else resolve(vector, n)
    except ValueError as error:
        return [Complaint(place, str(error))]
    if isinstance(vector, float):
        return [] if in_range(vector) else [Complaint(place, f"{must}; got {vector:g}")]
    for i, number in enumerate(numbers):
        if not in_range(number):
            below = (i,) if isinstance(vector, tuple) else ()
            return [Complaint((*place, *below), f"{must}; got {number:g} for feature {i}")]
    return []


def objective_misfits(
    model: ModelSettings, data: DataSettings, train: TrainSettings
) -> Iterator[Complaint]:
    """Yield what is wrong with an objective that does not hold for this model and data."""
    place = ("train", "objective")
    if (drawn := model.n_features * train.batch_size) > MOST_DRAWN:
        many = f"times n_features is {drawn:,} numbers in one draw, over the limit of 2^32"
        yield Complaint(("train", "batch_size"), many)
    if train.objective == "population" and (why := _without_expected_loss(model, data)):
        yield Complaint(place, f"{why}: use sampled")
    if train.objective == "exact_sparse":
        simple = data.kind == "uniform" and data.target == "identity" and data.low == 0
        if model.kind != "relu_output" or not simple:
            yield Complaint(place, "exact_sparse is for relu_output models of uniform data from 0")
        left_out = _tail(probability(model.n_features, data), train.order)
        if left_out > MAX_LEFT_OUT:
            why = f"exact_sparse of order {train.order} leaves out {100 * left_out:.2g} % of inputs"
            yield Complaint(place, f"{why}, more than {100 * MAX_LEFT_OUT:g} %: use sampled")
    noisy = "fixed" not in words.OBJECTIVES[train.objective].laws
    if train.optimizer == "lbfgs" and noisy and train.objective != "packing":
        yield Complaint(("train", "optimizer"), "lbfgs needs an objective without sampling noise")
    yield from _only_sampled(train)
    if train.objective == "packing":
        yield from _packing_misfits(model, data, train)


def _without_expected_loss(model: ModelSettings, data: DataSettings) -> str | None:
    """Say why the expected loss of a model and its data cannot be computed, if so."""
    law, identity = words.SAMPLERS[data.kind], data.target == "identity"
    of_model = words.MODELS[model.kind].laws
    if identity and "of_moments" in of_model and "moments" in law.laws:
        return None
    if "patterns" not in law.laws:
        return f"population needs the activity patterns of the data, and {data.kind} lists none"
    n, closed = model.n_features, identity and data.low == 0 and "few_active" in of_model
    choices = (law.choices or activity.independent)(n, sets(n, data))
    many = activity.excess(n, choices, closed, constant=data.low == data.high)
    return many and f"population would need {many}"


def _only_sampled(train: TrainSettings) -> Iterator[Complaint]:
    """Complain about what changes a sampled objective, beside another."""
    for name in ("hidden_l1", "adversarial_norm"):
        if getattr(train, name) and train.objective != "sampled":
            yield Complaint(("train", name), "is for the objective sampled only")


def _packing_misfits(
    model: ModelSettings, data: DataSettings, train: TrainSettings
) -> Iterator[Complaint]:
    """Complain about what means nothing, or something else, where only W counts."""
    if data != DataSettings.model_validate(NO_INPUTS):
        yield Complaint(("data",), "is not for packing, which draws no inputs: leave it out")
    if model.kind != "linear":
        yield Complaint(("model", "kind"), "must be linear for packing, where only W counts")
    if model.n_features <= model.n_hidden:
        why = "must exceed n_hidden for packing: fewer vectors can be orthogonal"
        yield Complaint(("model", "n_features"), why)
    if train.optimizer == "lbfgs":
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


def _bad_sets(model: ModelSettings, data: DataSettings) -> Iterator[str]:
    if data.sets is None:
        return
    members = [feature for group in data.sets for feature in group]
    count = Counter(members)
    outside = [f for f in count if not 0 <= f < model.n_features]
    twice = next((f for f in count if count[f] > 1), None)
    if outside:
        yield f"names feature {outside[0]}; the features are 0 to {model.n_features - 1}"
    if twice is not None:
        yield f"must hold a feature once; feature {twice} is there twice"


def sets(n: int, data: DataSettings) -> Groups:
    """Return the sets of n features: those written, then every other feature by itself."""
    if data.sets is None:
        return ()
    written = {feature for group in data.sets for feature in group}
    return (*data.sets, *((feature,) for feature in range(n) if feature not in written))


def _uneven_sets(data: DataSettings, p: Numbers) -> Iterator[Complaint]:
    name = "sparsity" if data.feature_probability is None else "feature_probability"
    arena = data.kind == "anticorrelated" and data.anticorrelated_marginal == "arena"
    for group in data.sets if data.sets and data.kind in WITH_SETS else ():
        if len({p[i] for i in group}) > 1:
            yield Complaint(("data", name), f"must be equal within the set {list(group)[:8]}")
        elif arena and p[group[0]] * len(group) > 1:
            why = f"is too dense for arena: {p[group[0]]:g} times {len(group)} features exceeds 1"
            yield Complaint(("data", name), why)


def probability(n: int, data: DataSettings) -> Numbers:
    """Return the n probabilities as written: a feature's own, or its set's."""
    if data.kind == "one_hot":
        return (1 / n,) * n
    if data.sparsity is None:
        return resolve(data.feature_probability, n)
    if isinstance(data.sparsity, float):
        return (complement(data.sparsity),) * n
    return tuple(complement(resolve(data.sparsity, n)))


def marginal(data: DataSettings, p: Numbers) -> Numbers:
    """Return the n probabilities that a feature is active, p being those as written."""
    if data.kind != "anticorrelated" or data.anticorrelated_marginal == "arena":
        return p
    size = {feature: len(group) for group in data.sets or () for feature in group}
    return tuple(probability / size.get(i, 1) for i, probability in enumerate(p))


def weights(n: int, data: DataSettings) -> Numbers:
    """Return the n weights of a feature's squared error."""

    def inverse_variance() -> Numbers:
        if words.SAMPLERS[data.kind].source is not None:
            raise ValueError(f"cannot be inverse_variance: {data.kind} has variances of its own")
        variance = [_variance(q, data) for q in marginal(data, probability(n, data))]
        for i, spread in enumerate(variance):
            if spread <= 0:
                raise ValueError(f"cannot be inverse_variance: feature {i} does not vary")
        return tuple(1 / spread for spread in variance)

    return resolve(data.importance, n, 1.0, inverse_variance)


def _variance(q: float, data: DataSettings) -> float:
    """The variance of a feature that is active with probability q, then U[low, high]."""
    low, high = data.low, data.high
    if low == high:
        return q * (1 - q) * high * high
    first, second = (low + high) / 2, (low * low + low * high + high * high) / 3
    return q * second - (q * first) * (q * first)


def _without_variance(model: ModelSettings, data: DataSettings) -> Iterator[Complaint]:
    """Complain where every input would be the same."""
    known = data.low == data.high and words.SAMPLERS[data.kind].source is None
    if known and min(marginal(data, probability(model.n_features, data))) == 1:
        why = "must be below high where every feature is always active: all inputs would be equal"
        yield Complaint(("data", "low"), why)
