"""Expectations: one question each."""

import pytest
from config_texts import BASE, load, problems


@pytest.mark.parametrize(
    "entry",
    [
        "{id: a, finding: b, min: 1}",
        "{id: a, finding: b, equals: word, claim: A sentence.}",
        "{id: a, finding: b, approx: 1, rtol: 0.1, where: {model.kind: linear, seed: 3}}",
        "{id: a, finding: b, approx: 1, tol: 0}",
    ],
)
def test_expectations(entry):
    assert load(BASE + f"expect: [{entry}]\n").expect[0].id == "a"


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ("{id: a, finding: b}", "exactly one of equals"),
        ("{id: a, finding: b, min: 1, max: 2}", "exactly one of equals"),
        ("{id: a, finding: b, approx: 1}", "exactly one of tol"),
        ("{id: a, finding: b, approx: 1, tol: 1, rtol: 1}", "exactly one of tol"),
        ("{id: a, finding: b, min: 1, tol: 1}", "only for approx"),
        ("{id: a, finding: b, min: 1, wher: {}}", "did you mean 'where'?"),
        ("{id: a, finding: b, equals: [1]}", "needs a number or a word"),
        ("{id: a, finding: b, min: 1}, {id: a, finding: b, min: 1}", "already taken"),
        ("{finding: b, min: 1}", "expect.0.id: is required"),
    ],
)
def test_wrong_expectations(entry, part):
    found = problems(BASE + f"expect: [{entry}]\n")
    assert part in found[0]
    assert len(found) == 1
