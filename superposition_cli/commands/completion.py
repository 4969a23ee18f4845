"""What the shell offers at the tab key: configurations, fields of `--set`, and their words."""

from collections.abc import Iterator
from typing import get_args

import typer


def configs(incomplete: str) -> list[str]:
    """Return the shipped configurations that begin so."""
    from superposition_cli.config import shipped

    return [name for name in shipped.configs() if name.startswith(incomplete)]


def questions(incomplete: str) -> list[str]:
    """Return the analyses and metrics that begin so."""
    from superposition_cli.analyses import ANALYSES
    from superposition_cli.toy.metrics import METRICS

    return [name for name in (*ANALYSES, *METRICS) if name.startswith(incomplete)]


def settings(context: typer.Context, incomplete: str) -> list[str]:
    """Return fields that begin so, `data.kind=`, or, after the sign, what a field can be.

    Words of plug-ins are among them where `--use` comes before `--set`. A plug-in that fails
    adds none.
    """
    from superposition_cli.commands import plugins
    from superposition_cli.config import axes
    from superposition_cli.errors import SpError

    name, sign, word = incomplete.partition("=")
    if not sign:
        return [f"{field}=" for field in axes.MARKS if field.startswith(name)]
    try:
        plugins.use(context.params.get("use") or ())
    except SpError:
        return []
    return [f"{name}={one}" for one in _words(name) if one.startswith(word)]


def _words(name: str) -> Iterator[str]:
    """The words that a setting can be, where it is one of some."""
    from superposition_cli.config import Setting, words

    if name in words.PLACES:
        yield from words.PLACES[name]
        return
    section, _, field = name.partition(".")
    model = Setting.model_fields.get(section)
    fields = getattr(model.annotation, "model_fields", {}) if model else {}
    if field in fields:
        yield from (word for word in get_args(fields[field].annotation) if isinstance(word, str))
