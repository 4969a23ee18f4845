"""Other people's words: every one leads to a key that there is, from wherever it is written."""

import pytest
from config_texts import BASE, HEAD, problems, swept

from superposition_cli.config import axes, synonyms, vectors
from superposition_cli.config.complaints import Strict
from superposition_cli.config.experiment import Expectation, Experiment

SECTIONS = ("model", "data", "train")
TOP = set(Experiment.model_fields) - set(SECTIONS)
PLACES = TOP | {
    f"{name}.{key}"
    for name in SECTIONS
    for key in Experiment.model_fields[name].annotation.model_fields
}
WORDS = [(place, word) for place, words in synonyms.SETTINGS.items() for word in words.split()]
SHARED = {"type": ["model.kind", "data.kind"]}  # the only word of two settings
NOTE = {"density": " (= 1 - sparsity)"}
HERE = ("", *SECTIONS)
UNKNOWN = "is not a known key"


def text(section, word):
    """A configuration with an unknown key in a section, and how its complaint begins."""
    if section == "model":
        model = f"model: {{{word}: 1, n_features: 3, n_hidden: 2}}\n"
        return f"name: x\n{model}data: {{sparsity: 0.9}}\n", f"f.yaml:2:9 model.{word}: "
    if section == "data":
        return HEAD + f"data: {{{word}: 1, sparsity: 0.9}}\n", f"f.yaml:3:8 data.{word}: "
    if section == "train":
        return BASE + f"train: {{{word}: 1}}\n", f"f.yaml:4:9 train.{word}: "
    return BASE + f"{word}: 1\n", f"f.yaml:4:1 {word}: "


def forms_of(kind):
    for form in kind.__subclasses__():
        yield form
        yield from forms_of(form)


def test_every_word_leads_to_a_key_that_there_is():
    assert set(synonyms.SETTINGS) <= PLACES
    keys = {key for form in forms_of(Strict) for key in form.model_fields}
    assert set(synonyms.KEYS) <= keys | {"first", "last"}
    assert set(synonyms.NOTES) <= {word for _, word in WORDS}


def test_no_word_is_a_setting_or_leads_to_two():
    keys = {place.rpartition(".")[2] for place in PLACES}
    leads = {}
    for place, word in WORDS:
        assert word not in keys
        assert word == word.lower()
        leads.setdefault(word, []).append(place)
    assert {word: places for word, places in leads.items() if len(places) > 1} == SHARED


def told(owners, here):
    """What is said in a section of an unknown key that is meant for one of these settings."""
    keys = [place.rpartition(".")[2] for place in owners if place.rpartition(".")[0] == here]
    if keys:
        return f"{UNKNOWN}; did you mean {keys[0]!r}"
    names = [repr(p) if "." in p else f"{p!r}, at the top level" for p in owners]
    opening = f"is not a key of {here}" if here else UNKNOWN
    return f"{opening}; did you mean {' or '.join(names)}"


@pytest.mark.parametrize(("place", "word"), WORDS)
def test_a_word_is_told_its_key(place, word):
    for here in HERE:
        written, where = text(here, word)
        expected = told(SHARED.get(word, [place]), here) + NOTE.get(word, "")
        assert problems(written) == [f"{where}{expected}?"]


@pytest.mark.parametrize(
    ("place", "word"),
    [(place, word) for place, word in WORDS if place in axes.SWEPT and word not in SHARED],
)
def test_an_axis_by_another_name_is_told_its_own(place, word):
    section, _, _ = place.rpartition(".")
    note = NOTE.get(word, "")
    for name in (word, f"{section}.{word}" if section else word):
        assert problems(swept(f"{name}: [1]")) == [
            f"f.yaml:4:22 sweep.parameters.{name}: is not a setting that can be swept; "
            f"did you mean {place!r}{note}?"
        ]


@pytest.mark.parametrize("place", sorted(PLACES))
def test_a_key_in_another_section_is_told_where_it_belongs(place):
    key = place.rpartition(".")[2]
    owners = ["model.kind", "data.kind"] if key == "kind" else [place]
    sections = {owner.rpartition(".")[0] for owner in owners}
    for here in set(HERE) - sections:
        written, where = text(here, key)
        (found,) = [line for line in problems(written) if line.startswith(where)]
        assert found == f"{where}{told(owners, here)}?"


@pytest.mark.parametrize(
    ("section", "word", "sentence"),
    [
        ("", "LR", f"{UNKNOWN}; did you mean 'train.learning_rate'?"),
        ("", "n_hiden", f"{UNKNOWN}; did you mean 'model.n_hidden'?"),
        ("", "train.steps", f"{UNKNOWN}: write steps inside train"),
        ("", "train.lr", f"{UNKNOWN}; did you mean 'train.learning_rate'?"),
        ("", "qqq", UNKNOWN),
        ("train", "qqq", UNKNOWN),
        ("train", "stps", f"{UNKNOWN}; did you mean 'steps'?"),
        ("train", "sprasity", "is not a key of train; did you mean 'data.sparsity'?"),
    ],
)
def test_other_unknown_keys(section, word, sentence):
    written, where = text(section, word)
    assert problems(written) == [where + sentence]


def test_an_axis_beside_the_parameters_is_told_its_place():
    assert problems(BASE + "sweep: {seed: [1], parameters: {train.steps: [1]}}\n") == [
        "f.yaml:4:9 sweep.seed: is an axis: write it in parameters"
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("lr=1e-3", "is not a known key; did you mean 'train.learning_rate'?"),
        ("train.lr=1e-3", "is not a known key; did you mean 'learning_rate'?"),
        ("steps=3", "is not a known key; did you mean 'train.steps'?"),
        ("model.lr=1", "is not a key of model; did you mean 'train.learning_rate'?"),
        ("density=0.1", "is not a known key; did you mean 'data.feature_probability' (= 1 - spars"),
        ("sweep.parameters.lr=[1]", "is not a setting that can be swept; did you mean 'train.lear"),
    ],
)
def test_overrides_are_told_the_same(override, expected):
    (found,) = problems(BASE, override)
    assert found.startswith(f"--set {override}: {expected}")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("sparsity", "'data.sparsity'"),
        ("importance.last", "'data.importance.last'"),
        ("model.p.0", "'data.feature_probability.0'"),
        ("density.first", "'data.feature_probability.first' (= 1 - sparsity)"),
        ("train.seed", "'seed'"),
        ("train.n_hidden", "'model.n_hidden'"),
        ("seeds", "'seed'"),
        ("type", "'model.kind' or 'data.kind'"),
        ("data.importnce.last", "'data.importance.last'"),
    ],
)
def test_axes_are_told_their_dotted_names(name, meant):
    assert problems(swept(f"{name}: [1]")) == [
        f"f.yaml:4:22 sweep.parameters.{name}: is not a setting that can be swept; "
        f"did you mean {meant}?"
    ]


def test_a_group_of_axes_is_told_their_names():
    found = problems(swept("train.learning_rate: [1]", "[[lr, train.learning_rate]]"))
    assert "'lr' is not among the parameters; did you mean 'train.learning_rate'?" in found[0]


def swept_seed(form):
    return BASE + f"sweep: {{parameters: {{seed: {{{form}}}}}}}\n"


def important(form):
    return HEAD + f"data: {{sparsity: 0.9, importance: {{{form}}}}}\n"


OWNERS = {  # the model of the keys at a place, and a text with an unknown one
    "sweep": (axes.Sweep, BASE + "sweep: {parameters: {seed: [1]}, @: 1}\n"),
    "sweep.parameters.seed.linspace": (
        axes.Steps,
        swept_seed("linspace: {start: 0, stop: 1, num: 2, @: 1}"),
    ),
    "sweep.parameters.seed.range": (axes.Integers, swept_seed("range: {start: 0, stop: 1, @: 1}")),
    "data.importance.geometric": (vectors.Progression, important("geometric: {ratio: 1, @: 1}")),
    "data.importance.power": (vectors.Law, important("power: {exponent: 1, @: 1}")),
    "data.importance.linspace": (vectors.Ends, important("linspace: {start: 0, stop: 1, @: 1}")),
    "expect.0": (Expectation, BASE + "expect: [{id: a, finding: b, min: 1, @: 1}]\n"),
}
MEANT = {
    (place, word): next(key for key in leads if key in model.model_fields)
    for place, (model, _) in OWNERS.items()
    for word, leads in synonyms.KEYS_BY_WORD.items()
    if word not in model.model_fields and set(leads) & set(model.model_fields)
}


@pytest.mark.parametrize(("place", "word"), MEANT)
def test_a_key_of_a_form_by_another_name(place, word):
    written = OWNERS[place][1]
    line = written.count("\n")
    column = written.splitlines()[-1].index("@") + 1
    assert problems(written.replace("@", word)) == [
        f"f.yaml:{line}:{column} {place}.{word}: {UNKNOWN}; did you mean {MEANT[place, word]!r}?"
    ]


def test_words_that_lead_to_two_keys_are_told_the_one_there_is():
    asked = {
        ("data.importance.geometric", "from"): "first",
        ("data.importance.linspace", "from"): "start",
        ("data.importance.geometric", "decay"): "ratio",
        ("sweep", "grid"): "parameters",
    }
    assert {pair: MEANT[pair] for pair in asked} == asked


IN_VECTORS = (*vectors.FORMS, "base")
ALIKE = [(kind, word) for kind in IN_VECTORS for word in synonyms.KEYS.get(kind, "").split()]


@pytest.mark.parametrize(("form", "word"), ALIKE)
def test_a_form_of_a_vector_by_another_name(form, word):
    (found,) = problems(important(f"{word}: 1"))
    assert found == (
        f"f.yaml:3:36 data.importance.{word}: {vectors.NO_FORM}; did you mean {form!r}?"
    )


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{power: 1}", "power: is a form of a vector: an axis "),
        ("{geometric: 0.9}", "geometric: is a form of a vector: an axis "),
        ("{base: 1, last: 2}", "base: is a form of a vector: an axis "),
        ("{geomspace: {start: 1, stop: 2}}", "geomspace.num: is required: an axis "),
        ("{linspace: {start: 1, stop: 2}}", "linspace.num: is required: an axis "),
        ("{zipf: 1}", "zipf: is no form of an axis, which "),
    ],
)
def test_an_axis_in_the_form_of_a_vector_is_told_its_own_forms(form, expected):
    assert problems(swept(f"data.importance: {form}")) == [
        f"f.yaml:4:40 sweep.parameters.data.importance.{expected}needs a list, or a mapping with "
        "values, linspace or geomspace (start, stop and num) or range (start and stop)"
    ]


def test_a_near_form_of_an_axis_is_suggested():
    for word, form in {"logspace": "geomspace", "linspce": "linspace", "arange": "range"}.items():
        (found,) = problems(swept(f"seed: {{{word}: {{}}}}"))
        assert found.endswith(f"(start and stop); did you mean {form!r}?")


def test_the_forms_of_an_axis_are_named():
    assert list(axes.AXIS_FORMS) == ["values", "linspace", "geomspace", "range"]
    assert all(form in axes.NOT_AN_AXIS for form in axes.AXIS_FORMS)


def test_words_of_metrics_keep_their_hints():
    assert problems(BASE + "metrics: [feature_norm, lr]\n", metrics=["feature_norms"]) == [
        "f.yaml:4:11 metrics.0: 'feature_norm' is not known; did you mean 'feature_norms'?",
        "f.yaml:4:25 metrics.1: 'lr' is not known",
    ]
