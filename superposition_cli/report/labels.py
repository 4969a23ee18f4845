"""How settings and cells are called in figures, pages and tables for the eye."""

import re
from collections.abc import Mapping

from superposition_cli.running import tables

# control characters, and those that turn the direction of text around
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

HEADINGS = {
    "data.feature_probability": "p",
    "data.sparsity": "S",
    "data.importance.last": "importance of the last feature",
    "data.importance.first": "importance of the first feature",
    "model.n_features": "n",
    "model.n_hidden": "m",
    "feature_probability": "p",
    "loss_normalised": "loss/null",
    "n_represented": "represented",
    "dims_per_feature": "D*",
    "sum_dimensionality": "sum D_i",
    "not_converged": "still falling",
}
LONG = {
    "data.feature_probability": "feature probability p",
    "data.sparsity": "sparsity S",
    "model.n_features": "features n",
    "model.n_hidden": "hidden dimensions m",
}


def plain(text: str) -> str:
    """Return text from outside without the characters that would do more than be seen."""
    return CONTROL.sub("", text)


def short(text: str) -> str:
    """Round a number in a table to four significant digits for the eye; leave words alone."""
    try:
        return text if text.lstrip("-").isdigit() else f"{float(text):.4g}"
    except ValueError:
        return text


def with_spread(row: Mapping[str, str], name: str) -> str:
    """Return a value of a cell for the eye, an average with its standard deviation."""
    spread = row.get(f"{name}{tables.SPREAD}")
    return short(row.get(name, "")) + (f" ± {float(spread):.2g}" if spread else "")


def heading(name: str) -> str:
    """Return the short name of a setting or column."""
    return HEADINGS.get(name, name.split(".", 1)[-1].replace("_", " "))


def axis(name: str) -> str:
    """Return the name of a setting as the label of an axis."""
    return LONG.get(name, heading(name))


def value(given: object) -> str:
    """Return one value of a setting, numbers to three digits, vectors and words cut short."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        text = str(tables.brief(given))
        return text if len(text) <= 24 else f"{text[:23]}…"
    return f"{given:.3g}"


def number(given: object, digits: int = 3) -> str:
    """Return a number of a finding to so many digits, or a word where there is none."""
    return "none" if given is None else f"{given:.{digits}g}"


def percent(share: object) -> str:
    """Return a share of a finding in whole percent, or a word where there is none."""
    return "none" if share is None else f"{share:.0%}".replace("%", " %")


def cell(assignment: Mapping[str, object]) -> str:
    """Return what tells a cell from others: "p = 0.1, linear"; words come without a name."""
    return ", ".join(
        value(given) if isinstance(given, str) else f"{heading(name)} = {value(given)}"
        for name, given in assignment.items()
    )
