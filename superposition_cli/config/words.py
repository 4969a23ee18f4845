"""The words that plug-ins may add to a configuration, and what the checker knows of each.

The functions behind them are in `toy/`, which imports JAX; here is what can be said of a word
without it: which exact laws it comes with, and the file of the user's own that defines it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from superposition_cli.config.complaints import not_a_word, wrong
from superposition_cli.theory import activity


@dataclass(frozen=True)
class Source:
    """A file of the user's own, as it was read: its name, its text and its SHA-256."""

    file: str
    text: str
    sha256: str
    defines: tuple[str, ...] = ()  # such as MODELS.mine, in the order of the file


class Word(NamedTuple):
    """What is known of a word.

    laws: the exact laws that come with it: of a model `of_moments` and `few_active`, of data
        `patterns` and `moments`, of a target `moments`, of an objective `fixed`.
    marginal: for data of a plug-in, the probabilities of a setting's features.
    source: None for what comes with the package.
    choices: of data with patterns, what counts them; see `theory.activity`.
    """

    laws: frozenset[str] = frozenset()
    marginal: Callable[[Any], tuple[float, ...]] | None = None
    source: Source | None = None
    choices: activity.Choices | None = None


def _with(*laws: str) -> Word:
    return Word(frozenset(laws))


Table = dict[str, Word]
MODELS: Table = {
    "linear": _with("of_moments"),
    "relu_output": _with("few_active"),
    "relu_hidden": Word(),
    "abs": Word(),
}
CHOICES = {
    "uniform": activity.independent,
    "correlated": activity.tied,
    "anticorrelated": activity.exclusive,
    "one_hot": activity.single,
}
SAMPLERS: Table = {
    name: _with("patterns", "moments")._replace(choices=choices)
    for name, choices in CHOICES.items()
}
TARGETS: Table = {name: _with("moments") for name in ("identity", "abs")}
OBJECTIVES: Table = {
    "sampled": Word(),
    "population": _with("fixed"),
    "exact_sparse": _with("fixed"),
    "packing": Word(),
}
TABLES: dict[str, Table] = {
    "MODELS": MODELS,
    "SAMPLERS": SAMPLERS,
    "TARGETS": TARGETS,
    "OBJECTIVES": OBJECTIVES,
}
PLACES = {
    "model.kind": MODELS,
    "data.kind": SAMPLERS,
    "data.target": TARGETS,
    "train.objective": OBJECTIVES,
}
ELSEWHERE = "a plug-in that defines it: --use FILE.py"
LOADED: dict[str, Source] = {}  # all plug-ins of this process, by their SHA-256


class OneOf:
    """A field that takes a word of a table; marks the field, and is its JSON schema."""

    def __init__(self, table: Mapping[str, Word]) -> None:
        self.table = table

    def __get_pydantic_core_schema__(
        self, source: type, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, object]:
        return {**handler(schema), "enum": list(self.table)}

    def checked(self, value: object) -> object:
        """Return a word of the table as it is; refuse anything else, naming the words there are."""
        if not isinstance(value, str) or value not in self.table:
            sentence = not_a_word(value, self.table)
            told = "did you mean" in sentence or not isinstance(value, str)
            wrong(sentence if told else f"{sentence}; {ELSEWHERE}")
        return value


def sources(used: Iterable[tuple[str, object]]) -> list[Source]:
    """Return the files that define what is used, (place, word) pairs such as ("model.kind", "my").

    Each file once, in the order of their checksums.
    """
    words = (PLACES[place].get(word) for place, word in used if isinstance(word, str))
    found = {word.source.sha256: word.source for word in words if word and word.source}
    return [found[key] for key in sorted(found)]
