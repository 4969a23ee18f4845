"""Feature vectors: every way to write them."""

import numpy as np
import pytest
from config_texts import data, load, problems, swept

from superposition_cli import config
from superposition_cli.config import vectors


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2", (2, 2, 2)),
        ("[1, 2, 3]", (1, 2, 3)),
        ("{geometric: 0.5}", (1, 0.5, 0.25)),
        ("{geometric: {ratio: 0.5, start: 1}}", (0.5, 0.25, 0.125)),
        ("{geometric: {ratio: 0.5, start: -1}}", (2, 1, 0.5)),
        ("{geometric: {ratio: 0.5, first: 3}}", (3, 1.5, 0.75)),
        ("{geometric: {ratio: 0.5, first: 3, start: 0}}", (3, 1.5, 0.75)),
        ("{geomspace: {start: 1, stop: 100}}", (1, 10, 100)),
        ("{linspace: {start: 0, stop: 1}}", (0, 0.5, 1)),
        ("{linspace: {start: 0.3, stop: 0.1}}", (0.3, 0.2, 0.1)),
        ("{linspace: {start: 1, stop: 1}}", (1, 1, 1)),
        ("{power: 1}", (1, 1 / 2, 1 / 3)),
        ("{power: 0}", (1, 1, 1)),
        ("{power: -2}", (1, 4, 9)),
        ("{power: {exponent: 2}}", (1, 1 / 4, 1 / 9)),
        ("{power: {exponent: 1, first: 6}}", (6, 3, 2)),
        # 1 + 1/2 + 1/3 = 11/6; 1 + 2 + 3 = 6; 1 + 4 + 9 = 14. Four roundings: 4.4e-16 at most.
        ("{power: {exponent: 1, total: 11}}", pytest.approx((6, 3, 2), rel=1e-15)),
        ("{power: {exponent: -1, total: 12}}", pytest.approx((2, 4, 6), rel=1e-15)),
        ("{power: {exponent: -2, total: 7}}", pytest.approx((0.5, 2, 4.5), rel=1e-15)),
        ("{power: {exponent: 0, total: 3}}", (1, 1, 1)),
        ("{base: {power: 1}, last: 9}", (1, 0.5, 9)),
        ("{base: {linspace: {start: 1, stop: 3}}, first: 5}", (5, 2, 3)),
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
        ("{linspace: {start: 1}}", "linspace.stop: is required"),
        ("{linspace: 3}", "linspace: needs a mapping"),
        ("{power: {first: 1}}", "power.exponent: is required"),
        ("{power: {exponent: .inf}}", "not a finite number"),
        ("{power: -2000}", "too large"),
        ("{power: {exponent: 1, first: -1}}", "must not be negative; got -1 for feature 0"),
        ("{power: {exponent: 1, alpha: 2}}", "power.alpha: is not a known key; did you mean 'expo"),
        ("{geometric: {ratio: 0.5, from: 2}}", "from: is not a known key; did you mean 'first'?"),
        ("{linspace: {start: 1, to: 2}}", "stop: is required"),
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


MANY = 1000


def many(written):
    setting = load(data(f"{{sparsity: 0.9, importance: {written}}}", MODEL.format(MANY))).base
    return np.array(setting.importance())


MODEL = "{{n_features: {}, n_hidden: 2}}"
RANKS = np.arange(1, MANY + 1)


# A power is correct to a unit in the last place, NumPy's pairwise sum of n terms to log2(n) = 10 of
# them, 2e-15 in all: 1e-13 is ample. Spaced numbers are rounded to 12 digits, by at most 5e-12.
@pytest.mark.parametrize(
    ("written", "expected", "rel"),
    [
        ("{geometric: {ratio: 0.99, first: 0.05}}", 0.05 * 0.99 ** (RANKS - 1), 1e-13),
        ("{linspace: {start: 0.7, stop: 0.01}}", np.linspace(0.7, 0.01, MANY), 5.1e-12),
        ("{power: 1.5}", RANKS**-1.5, 1e-13),
        ("{power: {exponent: 0.7, first: 0.2}}", 0.2 * RANKS**-0.7, 1e-13),
        ("{power: {exponent: 1.5, total: 1}}", RANKS**-1.5 / np.sum(RANKS**-1.5), 1e-13),
        ("{power: {exponent: -3, total: 2}}", 2 * RANKS**3.0 / np.sum(RANKS**3.0), 1e-13),
    ],
)
def test_many_features(written, expected, rel):
    np.testing.assert_allclose(many(written), expected, rtol=rel)


def test_the_ends_of_a_spacing_are_exact():
    for form in ("linspace", "geomspace"):
        numbers = many(f"{{{form}: {{start: 0.7, stop: 0.01}}}}")
        assert (numbers[0], numbers[-1]) == (0.7, 0.01)
        assert all(number == float(f"{number:.12g}") for number in numbers)
        one = data(f"{{sparsity: {{{form}: {{start: 0.7, stop: 0.01}}}}}}", MODEL.format(1))
        assert load(one).data.sparsity.numbers(vectors.Wanted(1, None, None)) == (0.7,)


def test_a_steep_law_with_a_total_overflows_nowhere():
    # 1000^300 = 1e900 is no floating-point number, so the shares are taken by logarithms. Where exp
    # does not underflow they are above -745, whose last place is 1.1e-13.
    shares = np.exp(300 * np.log(RANKS / MANY))
    rising = many("{power: {exponent: -300, total: 5}}")
    np.testing.assert_allclose(rising, 5 * shares / shares.sum(), rtol=1e-12, atol=1e-300)


def test_total_is_the_expected_number_of_active_features():
    text = data("{feature_probability: {power: {exponent: 1.5, total: 1}}}", MODEL.format(MANY))
    assert sum(load(text).base.marginal()) == pytest.approx(1, rel=1e-13)
    dense = data("{feature_probability: {power: {exponent: 1.5, total: 3}}}")
    # 3 / (1 + 2^-1.5 + 3^-1.5) = 3 / 1.546004 = 1.94049
    assert problems(dense) == [
        "f.yaml:3:8 data.feature_probability: must be above 0 and at most 1; got 1.94049 for "
        "feature 0"
    ]


START = "is an exponent and must be a whole number"
TWICE = "which makes the first value ratio**start: leave out one of the two"
FORMS = (
    "is no form of a vector: there are a number, a list, geometric, geomspace, linspace, power, "
    "base with first, last or an index, inverse_variance (importance)"
)
NUM = "is not needed here: one number per feature"


@pytest.mark.parametrize(
    ("written", "place", "sentence"),
    [
        (
            "{geometric: {ratio: 0.99, start: 0.05}}",
            "55 geometric.start",
            f"{START}; for a first value of 0.05 write first: 0.05",
        ),
        ("{geometric: {ratio: 0.99, start: -0.5}}", "55 geometric.start", START),
        (
            "{geometric: {ratio: 0.9, start: 2, first: 0.5}}",
            "64 geometric.first",
            f"is not for a start of 2, {TWICE}",
        ),
        (
            "{geometric: {ratio: 0.9, first: 1, start: -1}}",
            "54 geometric.first",
            f"is not for a start of -1, {TWICE}",
        ),
        (
            "{power: {exponent: 1, first: 1, total: 1}}",
            "61 power.total",
            "and first each fix the scale: leave out one of the two",
        ),
        ("{power: 1, total: 2}", "40 total", "belongs inside: {power: {..., total: ...}}"),
        (
            "{geometric: 0.9, first: 0.5}",
            "46 first",
            "belongs inside: {geometric: {..., first: ...}}",
        ),
        ("{zipf: 1.0}", "30 zipf", f"{FORMS}; did you mean 'power'?"),
        ("{zipf: {exponent: 1.0}}", "30 zipf", f"{FORMS}; did you mean 'power'?"),
        ("{power_law: {total: 1.0}}", "30 power_law", f"{FORMS}; did you mean 'power'?"),
        ("{powerlaw: 1}", "30 powerlaw", f"{FORMS}; did you mean 'power'?"),
        ("{log: [1, 2]}", "30 log", f"{FORMS}; did you mean 'geomspace'?"),
        ("{logspace: {}}", "30 logspace", f"{FORMS}; did you mean 'geomspace'?"),
        ("{range: {start: 1}}", "30 range", f"{FORMS}; did you mean 'linspace'?"),
        ("{arange: 1}", "30 arange", f"{FORMS}; did you mean 'linspace'?"),
        ("{lst: 1}", "30 lst", f"{FORMS}; did you mean 'last'?"),
        ("{qqq: {a: 1}}", "30 qqq", FORMS),
        ("{base: {qqq: {a: 1}}, last: 1}", "37 base.qqq", FORMS),
        ("{geomspace: {start: 1, stop: 0.1, num: 3}}", "63 geomspace.num", NUM),
        ("{linspace: {start: 1, stop: 0.1, num: 3}}", "62 linspace.num", NUM),
        ("{base: {linspace: {start: 1, stop: 0, num: 3}}}", "67 base.linspace.num", NUM),
    ],
)
def test_a_refused_form_says_what_to_write(written, place, sentence):
    column, _, key = place.partition(" ")
    assert problems(data(f"{{feature_probability: {written}}}")) == [
        f"f.yaml:3:{column} data.feature_probability.{key}: {sentence}"
    ]


def test_the_messages_name_the_forms_there_are():
    assert list(vectors.FORMS) == [
        "geometric",
        "geomspace",
        "linspace",
        "power",
        "inverse_variance",
    ]
    assert all(form in vectors.NO_FORM for form in vectors.FORMS)
    general = [form for form in vectors.FORMS if form != "inverse_variance"]
    assert all(form in vectors.NOT_A_VECTOR for form in general)


def test_an_axis_lists_forms():
    forms = "{power: 1}, {power: {exponent: 1, total: 1.1}}, {geometric: {ratio: 0.5, first: 0.4}}"
    experiment = load(swept(f"data.feature_probability: [{forms}], data.importance.0: [7]"))
    name = "data.feature_probability"
    # 1 + 1/2 + 1/3 = 11/6: the total 1.1 is 0.6 of it. Four roundings: 4.4e-16 at most.
    for i, expected in enumerate([(1, 1 / 2, 1 / 3), (0.6, 0.3, 0.2), (0.4, 0.2, 0.1)]):
        (form,) = experiment.axes[0].item(i)
        setting = experiment.at({name: form, "data.importance.0": 7})
        assert setting.feature_probability() == pytest.approx(expected, rel=1e-15)
        assert setting.importance() == (7, 1, 1)
        entry = experiment.at({name: form, f"{name}.last": 0.9}).feature_probability()
        assert entry == pytest.approx((*expected[:2], 0.9), rel=1e-15)
    assert problems(swept(f"{name}: [0.1, {{zipf: 1}}]")) == [
        f"f.yaml:4:54 sweep.parameters.{name}.1: item 2 of 2 (a mapping): {name}.zipf {FORMS}; "
        "did you mean 'power'?"
    ]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("{geometric: {ratio: 0.5, first: 1}}", "{geometric: 0.5}"),
        ("{geometric: {ratio: 0.5, start: 0, first: 1.0}}", "{geometric: 0.5}"),
        ("{power: {exponent: 2, first: 1}}", "{power: 2.0}"),
        ("{base: {power: {exponent: 2, first: 1}}, last: 2}", "{base: {power: 2.0}, last: 2}"),
    ],
)
def test_hash_ignores_a_first_value_of_one(written, same):
    one, other = (load(data(f"{{sparsity: 0.9, importance: {v}}}")) for v in (written, same))
    assert config.hash8(one) == config.hash8(other)


@pytest.mark.parametrize(
    ("written", "folder"),
    [
        ("{geometric: 0.9}", "727fb475"),
        ("{geometric: {ratio: 0.9, start: 1}}", "f6aff65c"),
        ("{geometric: {ratio: 0.9, start: 2.0}}", "9aed8e96"),
        ("{base: {geometric: {ratio: 0.8, start: 2}}, last: 0.5, 0: 0.25}", "5a503017"),
        ("{geomspace: {start: 1, stop: 0.01}}", "43a5fd4f"),
    ],
)
def test_old_vectors_keep_their_hash(written, folder):
    """As first published, when these were the forms there were."""
    assert config.hash8(load(data(f"{{sparsity: 0.9, importance: {written}}}"))) == folder
