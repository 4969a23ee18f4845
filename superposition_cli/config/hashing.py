"""What an experiment or a setting is, as a hash that neither defaults nor wording move."""

import hashlib
import json
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import BaseModel

from superposition_cli.config import words
from superposition_cli.config.experiment import Experiment
from superposition_cli.config.misfits import VECTORS
from superposition_cli.config.settings import Setting
from superposition_cli.config.vectors import complement

NOT_IN_KEY = ("steps", "restarts", "select", "snapshots", "eval_samples")


def identity(experiment: Experiment) -> dict[str, object]:
    """Return what a run folder stands for: seed, model, data, train, sweep, and plug-ins' texts.

    Only what differs from its default, so that a new setting leaves old hashes alone.
    The order of the swept parameters counts, because it orders the cells.
    """
    data = _with_all_sets(experiment)
    if (twin := _twin(data.get("sparsity"))) is not None:
        data["feature_probability"] = _plain(twin)
        del data["sparsity"]
    parts: dict[str, Any] = {"seed": experiment.seed, "model": _chosen(experiment.model)}
    parts |= {"data": data, "train": _chosen(experiment.train)}
    if experiment.sweep:
        parts["sweep"] = _chosen(experiment.sweep)
        parts["sweep"]["parameters"] = [list(p) for p in parts["sweep"]["parameters"].items()]
    parts["plugins"] = [source.sha256 for source in sources(experiment)]
    return {key: part for key, part in parts.items() if part}


def sources(experiment: Experiment) -> list[words.Source]:
    """Return the files of the user's own that define what the models of an experiment are.

    Their model, sampler, target or objective, in the base or anywhere on an axis.
    """
    return words.sources(
        (place, value) for place in words.PLACES for value in experiment.values(place)
    )


def hash8(experiment: Experiment) -> str:
    """Return eight hexadecimal digits of the identity, for the name of its folder."""
    return _digest(identity(experiment)).hex()[:8]


def setting_words(setting: Setting) -> tuple[int, int]:
    """Return 64 bits of a setting's hash as two uint32 words, to fold into its random key.

    Of what `covered` returns, so without the seed.
    """
    high, low = words_of([as_json(covered(setting)).encode()])[0]
    return int(high), int(low)


def covered(setting: Setting) -> dict[str, dict[str, object]]:
    """Return what of a setting its words are made of: section -> field -> plain data.

    Covers model, data (vectors as n numbers) and train, except for the seed and what
    must not change a model's numbers: steps, restarts, select and snapshots. Numbers
    count to 12 digits, so that platforms agree on them.
    """
    data = _with_all_sets(setting)
    data = {key: data[key] for key in data if key not in VECTORS}
    data["feature_probability"] = list(setting.feature_probability())
    importance = list(setting.importance())
    if any(weight != 1 for weight in importance):
        data["importance"] = importance
    train = _chosen(setting.train)
    train = {key: train[key] for key in train if key not in NOT_IN_KEY}
    parts = {"model": _chosen(setting.model), "data": data, "train": train}
    return {section: _rounded(part) for section, part in parts.items()}


def words_of(texts: Iterable[bytes]) -> np.ndarray:
    """Return the first 64 bits of the SHA-256 of each text as two words, uint32 [texts, 2]."""
    digests = b"".join(hashlib.sha256(text).digest()[:8] for text in texts)
    return np.frombuffer(digests, ">u4").reshape(-1, 2).astype(np.uint32)


def as_json(data: object) -> str:
    """Return plain data as the text that is hashed: keys in order, no blanks."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _with_all_sets(setting: Setting) -> dict[str, Any]:
    """The data that differ from their defaults, with the sets that are implied."""
    data = _chosen(setting.data)
    return {**data, "sets": _plain(setting.sets())} if "sets" in data else data


def _chosen(section: BaseModel) -> dict[str, Any]:
    """The fields of a section that differ from their defaults, as plain data."""
    values = dict(section)
    fixed, made = _defaults(type(section))
    defaults = fixed | {name: make(values) for name, make in made.items()}
    return {name: _plain(values[name]) for name in values if values[name] != defaults.get(name)}


@lru_cache
def _defaults(section: type[BaseModel]) -> tuple[dict[str, object], dict[str, Callable]]:
    """The defaults of a section: constants, and those that follow from other fields."""
    fields = section.model_fields.items()
    made = {name: field.default_factory for name, field in fields if field.default_factory}
    return {name: field.default for name, field in fields if name not in made}, made


def _plain(value: Any) -> object:
    """Plain JSON data in which 1 and 1.0 are the same."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(exclude_defaults=True))
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value]


def _rounded(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return _plain(float(f"{value:.12g}")) if isinstance(value, float) else value


def _twin(sparsity: object) -> object:
    """The feature_probability equal to a written sparsity, where numbers say it all."""
    if not isinstance(sparsity, dict):
        return complement(sparsity)
    parts = {key: complement(part) for key, part in sparsity.items()}
    return None if None in parts.values() else parts


def _digest(data: dict[str, object]) -> bytes:
    return hashlib.sha256(as_json(data).encode()).digest()
