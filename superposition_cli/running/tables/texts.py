"""What settings and results look like in a table: words as they are, vectors in short."""

import json
import math
from collections.abc import Mapping

import numpy as np

FORMULA = ("=", "+", "-", "@", "\t", "\r")
LONGEST_LAW = 40  # characters of a law or of sets in a cell of a table


def brief(value: object, longest: int = LONGEST_LAW) -> object:
    """Return what stands for a setting in a table: numbers and words as they are, vectors short.

    A vector of n numbers is "first … last (n)", with its range where these are not the ends of
    it. Laws and sets are as written, in at most `longest` characters. The numbers themselves are in
    `Results.vectors`.
    """
    if not isinstance(value, list | tuple | Mapping):
        return value
    if isinstance(value, Mapping) or not all(isinstance(one, int | float) for one in value):
        text = json.dumps(value, ensure_ascii=False)
        return text if len(text) <= longest else f"{text[: longest - 1]}…"
    ends, span = (value[0], value[-1]), (min(value), max(value))
    between = "" if set(ends) == set(span) else f"; {span[0]:.6g} to {span[1]:.6g}"
    return f"{ends[0]:.6g} … {ends[1]:.6g} ({len(value)}{between})"


def number(value: float) -> str:
    """Return a number as text, to nine digits; empty where there is none."""
    return f"{value:.9g}" if math.isfinite(value) else ""


def text(value: object) -> str:
    """Return a setting as one cell of a table; text never starts like a formula."""
    value = brief(value)
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return repr(value)
    return f"'{value}" if str(value).startswith(FORMULA) else str(value)


def column(texts: list[str]) -> np.ndarray:
    """Return a column of a table as numbers where all of it is numbers, else as text.

    Whole numbers become int64, others float64 with NaN for an empty cell; true and false
    become booleans.
    """
    if set(texts) <= {"true", "false"}:
        return np.array([text == "true" for text in texts])
    try:
        if all(text.lstrip("-").isdigit() for text in texts):
            return np.array([int(text) for text in texts])
        return np.array([float(text) if text else np.nan for text in texts])
    except ValueError:
        return np.array(texts)
