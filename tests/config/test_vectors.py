"""Feature vectors: every way to write them."""

import pytest
from config_texts import data, load, problems


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2", (2, 2, 2)),
        ("[1, 2, 3]", (1, 2, 3)),
        ("{geometric: 0.5}", (1, 0.5, 0.25)),
        ("{geometric: {ratio: 0.5, start: 1}}", (0.5, 0.25, 0.125)),
        ("{geomspace: {start: 1, stop: 100}}", (1, 10, 100)),
        ("{base: 2, last: 3}", (2, 2, 3)),
        ("{last: 3}", (1, 1, 3)),
        ("{first: 3, 1: 4}", (3, 4, 1)),
        ("{base: {geometric: 0.5}, 0: 7}", (7, 0.5, 0.25)),
        ("{base: [1, 2, 3], last: 0}", (1, 2, 0)),
    ],
)
def test_vector_forms(written, expected):
    setting = load(data(f"{{sparsity: 0.9, importance: {written}}}")).base
    assert setting.importance() == expected
    assert all(type(number) is float for number in setting.importance())


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("[1, 2]", "has 2 numbers, but the model has 3"),
        ("[]", "at least 1"),
        ("{}", "empty"),
        ("{geometrc: 0.5}", "did you mean 'geometric'?"),
        ("{geometric: {ratio: 0.5, begin: 1}}", "not a known key"),
        ("{geometric: 0}", "above 0"),
        ("{geometric: 1e300}", "too large"),
        ("{geomspace: {start: 0, stop: 1}}", "above 0"),
        ("{geomspace: {start: 1}}", "is required"),
        ("{3: 1.0}", "names feature 3"),
        ("{-1: 1.0}", "must be text"),
        ("words", "needs a number, a list"),
        ("null", "needs a number, a list"),
        ("[1, -2, 3]", "importance.1: must not be negative"),
        ("{geometric: 0.5, last: 1}", "not a known key"),
    ],
)
def test_wrong_vectors(written, part):
    found = problems(data(f"{{sparsity: 0.9, importance: {written}}}"))
    assert part in found[0]
    assert found[0].startswith("f.yaml:3:")


def test_probability_needs_a_base():
    assert "needs a base" in problems(data("{feature_probability: {last: 0.5}}"))[0]


def test_sparsity_is_the_complement():
    assert load(data("{sparsity: 0.9}")).base.feature_probability() == (0.1, 0.1, 0.1)
    assert load(data("{sparsity: [0, 0.7, 0.99]}")).base.feature_probability() == (1.0, 0.3, 0.01)


def test_inverse_variance():
    # U[-1, 1] active with p = 0.5: sigma^2 = 0.5 * 1/3 - 0 = 1/6.
    setting = load(
        data("{feature_probability: 0.5, low: -1.0, importance: {inverse_variance: true}}")
    ).base
    assert setting.importance() == pytest.approx((6, 6, 6), rel=1e-12)
    # U[0, 1], one feature of three always active: sigma^2 = 1/9 - 1/36 = 1/12.
    setting = load(data("{kind: one_hot, importance: {inverse_variance: true}}")).base
    assert setting.importance() == pytest.approx((12, 12, 12), rel=1e-12)
