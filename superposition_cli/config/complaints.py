"""What is wrong with a setting, as one plain sentence for the person who wrote it.

Validators refuse with `refuse`, which may point below the value at hand; `complaints`
turns everything a pydantic model found into (place, sentence) pairs.
"""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, ClassVar, NamedTuple, NoReturn, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from superposition_cli.config import marks, synonyms

Place = tuple[str | int, ...]

MAX_HINTS = 200  # looking for a near word takes 0.1 ms


class Complaint(NamedTuple):
    """One sentence about the value at a place of the configuration."""

    place: Place
    sentence: str


class Strict(BaseModel):
    """A frozen section of the configuration: no unknown keys, no conversions, no NaN.

    said: of a key that is missing or not known, the sentence in place of the usual one.
    """

    said: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


def refuse(found: Iterable[Complaint]) -> None:
    """Raise, inside a validator, all complaints found; places are relative to its value."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError("refused", "{why}", {"why": c.sentence}),
            loc=c.place,
            input=None,
        )
        for c in found
    ]
    if details:
        raise ValidationError.from_exception_data("configuration", details)


def wrong(sentence: str) -> NoReturn:
    """Raise, inside a validator, one complaint about its own value."""
    raise PydanticCustomError("refused", "{why}", {"why": sentence})


def hint(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word[:100], list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def key_hint(word: str, known: Collection[str]) -> str:
    """Return `hint` for the key of a form, which may have another name elsewhere."""
    meant = synonyms.key(word, known)
    return f"; did you mean {meant!r}?" if meant else hint(word, known)


def name_hint(name: str, known: Collection[str], entry: str = "") -> str:
    """Return `hint` for a setting's dotted name, which may lack its section or have another.

    entry: what follows the name, such as `.last`, and the hint too.
    """
    meant = [repr(place + entry) for place in synonyms.settings(name, known)]
    if meant:
        return f"; did you mean {_choice(name, meant)}?"
    return hint(name + entry, [place + entry for place in known])


def _choice(word: str, meant: Iterable[str]) -> str:
    """The settings that a word may stand for, with what tells its meaning from theirs."""
    return " or ".join(meant) + synonyms.NOTES.get(word.rpartition(".")[2].lower(), "")


def shown(value: object) -> str:
    """Return a value as a person would write it, cut short and on one line."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    if isinstance(value, BaseModel | dict):
        return "a mapping"
    if isinstance(value, list | tuple) and len(repr(value)) > 40:
        return f"a list of {len(value)}"
    if isinstance(value, str | int | float | list | tuple):
        text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
        return text if len(text) <= 60 else text[:57] + "..."
    return "something unreadable"


def dotted(place: Place) -> str:
    """Return the keys of a place joined by dots, without what would break a line."""
    text = ".".join(map(str, place))
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= 120 else text[:117] + "..."


def written_place(where: Place, tree: Any) -> Place:
    """Return where a complaint's value was written: without union tags and filled-in levels."""
    place: list[str | int] = []
    for i, part in enumerate(where):
        if _holds(tree, part):
            tree = tree[part]
        elif not isinstance(tree, Mapping) or i < len(where) - 1 or str(part).startswith("<"):
            continue
        place.append(part)
    return tuple(place)


def _holds(tree: object, part: str | int) -> bool:
    if isinstance(tree, list | tuple):
        return isinstance(part, int) and part < len(tree)
    return isinstance(tree, Mapping) and part in tree


def complaints(error: ValidationError, root: type[BaseModel]) -> list[Complaint]:
    """Return one complaint for each thing that a model of type `root` refused."""
    errors: list[dict[str, Any]] = [{**e} for e in error.errors(include_url=False)]
    deeper = {e["loc"][:k] for e in errors for k in range(len(e["loc"]))}
    echoes = [
        e["type"] == "default_factory_not_called"
        or (e["type"] == "too_short" and e["loc"] in deeper)
        for e in errors
    ]
    own = [e for e, is_echo in zip(errors, echoes, strict=True) if not is_echo]
    return [Complaint(e["loc"], _sentence(e, root, i < MAX_HINTS)) for i, e in enumerate(own)]


def _sentence(error: dict[str, Any], root: type[BaseModel], with_hint: bool) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind in ("extra_forbidden", "missing"):
        *above, key = error["loc"]
        model = _model_at(above, root) if with_hint else None
        if model and issubclass(model, Strict) and key in model.said:
            return model.said[key]
        if kind == "extra_forbidden":
            return _unknown_key(tuple(above), key, root, model)
    if kind == "literal_error":
        expected = context["expected"].replace(" or ", ", ").split(",")
        return not_a_word(found, [word.strip("' ") for word in expected])
    if kind in SENTENCES:
        return SENTENCES[kind](context, shown(found))
    return f"{error['msg']}; got {shown(found)}"


def not_a_word(found: object, words: Collection[str]) -> str:
    """Return what is wrong with a value that is none of the words there are."""
    listed = ", ".join(words)
    allowed = f"only {listed} is known" if len(words) == 1 else f"must be one of {listed}"
    return f"{allowed}; got {shown(found)}" + (hint(found, words) if isinstance(found, str) else "")


def _unknown_key(
    place: Place, key: str, root: type[BaseModel], model: type[BaseModel] | None
) -> str:
    """Say that a model at a place knows no such key, and which key or setting it may be."""
    if model is None:
        return "is not a known key"
    names = [".".join(name) for name, _ in marks.fields(root)]
    sections = {name.partition(".")[0] for name in names if "." in name}
    if len(place) > 1 or (place and place[0] not in sections):
        return "is not a known key" + key_hint(key, model.model_fields)
    if not place and key in names:
        return f"is not a known key: write {key.partition('.')[2]} inside {key.partition('.')[0]}"
    section = ".".join(map(str, place))
    meant = synonyms.settings(f"{section}.{key}" if section else key, names)
    near = hint(key, model.model_fields)
    if not meant and near:
        return f"is not a known key{near}"
    meant = meant or _nearly(key, names)
    if not meant:
        return "is not a known key"
    is_own = all(name.rpartition(".")[0] == section for name in meant)
    opening = "is not a known key" if is_own or not section else f"is not a key of {section}"
    return f"{opening}; did you mean {_choice(key, (_told(name, section) for name in meant))}?"


def _nearly(key: str, names: Collection[str]) -> list[str]:
    """The settings, of whatever section, whose key is much like this one."""
    keys = {name.rpartition(".")[2] for name in names}
    near = difflib.get_close_matches(key[:100], list(keys), n=1, cutoff=0.8)
    return synonyms.settings(near[0], names) if near else []


def _told(name: str, section: str) -> str:
    """A setting's dotted name as it is told to who wrote in a section."""
    above, _, key = name.rpartition(".")
    if above == section:
        return repr(key)
    return repr(name) if above else f"{name!r}, at the top level"


def _model_at(place: Iterable[str | int], root: type[BaseModel]) -> type[BaseModel] | None:
    """The model whose keys a place has; a part `<Name>` picks a form of a union."""
    here: type[BaseModel] | None = root
    forms = [root]
    for part in place:
        if isinstance(part, str) and part.startswith("<"):
            here = next((form for form in forms if f"<{form.__name__}>" == part), here)
        elif here and isinstance(part, str) and part in here.model_fields:
            forms = models_in(here.model_fields[part].annotation)
            here = forms[0] if forms else None
    return here


def models_in(annotation: object) -> list[type[BaseModel]]:
    """Return the models that a type is made of, in the order written."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_in(part)]


def _needs(what: str) -> Callable[[dict[str, object], str], str]:
    return lambda context, got: f"needs {what}; got {got}"


def _bare(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def _bound(words: str, key: str) -> Callable[[dict[str, Any], str], str]:
    return lambda context, got: f"must be {words} {_bare(context[key])}; got {got}"


SENTENCES: dict[str, Callable[[dict[str, Any], str], str]] = {
    "refused": lambda context, got: context["why"],
    "missing": lambda context, got: "is required",
    "int_type": _needs("a whole number"),
    "int_from_float": _needs("a whole number"),
    "float_type": _needs("a number"),
    "string_type": _needs("text"),
    "bool_type": _needs("true or false"),
    "tuple_type": _needs("a list"),
    "dict_type": _needs("a mapping of keys to values"),
    "model_type": _needs("a mapping of keys to values"),
    "model_attributes_type": _needs("a mapping of keys to values"),
    "finite_number": _needs("a finite number"),
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "too_short": lambda context, got: f"needs at least {context['min_length']} entry",
    "string_too_short": lambda context, got: "must not be empty",
    "string_pattern_mismatch": lambda context, got: (
        "may hold letters, digits, dots, underscores and hyphens, begins with a letter or digit, "
        f"and has at most 100 characters; got {got}"
    ),
}
