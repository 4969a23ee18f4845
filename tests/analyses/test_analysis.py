"""What analyses say of themselves, held against small findings and the shipped claims."""

import importlib
import re

import pytest
from helpers import commanded

from superposition_cli import config
from superposition_cli.analyses import ANALYSES, analysis_of, answer, dictionary
from superposition_cli.config import shipped
from superposition_cli.toy.metrics import METRICS

SCALARS = [name for name, metric in METRICS.items() if not metric.axes]
TRAIN = "optimizer: adam, learning_rate: 3e-2, steps: 24, restarts: 2, snapshots: 8"
RUNS = {
    "plain": f"""\
name: plain
model: {{n_features: 4, n_hidden: 2}}
data: {{feature_probability: 0.1}}
train: {{{TRAIN}, batch_size: 24, eval_samples: 96}}
sweep: {{parameters: {{data.feature_probability: [1.0, 0.4, 0.1]}}}}
metrics: [{", ".join(SCALARS)}]
""",
    "first": f"""\
name: first
model: {{n_features: 5, n_hidden: 2}}
data: {{feature_probability: {{base: 0.1, first: 0.1}}}}
train: {{{TRAIN}, objective: population}}
sweep: {{parameters: {{data.feature_probability.first: [0.05, 0.4]}}}}
""",
    "map": f"""\
name: map
model: {{n_features: 2, n_hidden: 1}}
data: {{feature_probability: 0.1, importance: {{last: 1.0}}}}
train: {{{TRAIN}, objective: population}}
sweep: {{parameters: {{data.feature_probability: [0.1, 0.5], data.importance.last: [0.5, 1.0]}}}}
""",
    "tied": f"""\
name: tied
model: {{n_features: 4, n_hidden: 2}}
data: {{kind: correlated, sets: [[0, 1], [2, 3]], feature_probability: 0.1}}
train: {{{TRAIN}, objective: population}}
""",
    "absolute": f"""\
name: absolute
model: {{kind: abs, n_features: 2, n_hidden: 4}}
data: {{feature_probability: 0.5, low: -1.0, high: 1.0, target: abs}}
train: {{{TRAIN}, batch_size: 24, eval_samples: 96, init: kaiming_uniform}}
""",
    "random": """\
name: random
model: {kind: linear, n_features: 20, n_hidden: 4}
train: {objective: packing, steps: 0}
sweep: {parameters: {model.n_hidden: [4, 6]}}
""",
}
RUN_OF = {
    **dict.fromkeys(("density", "pentagon"), "first"),
    **dict.fromkeys(("directions", "recovery"), "random"),
    "phase": "map",
    "sets": "tied",
    "computation": "absolute",
}
UNITS = {"1", "loss", "degrees", "steps", "word", "bool", "x²"}
FEW = {"STEPS": 40, "ROUNDS": 2, "BATCH": 24, "JUDGED": 96}  # of an autoencoder


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """The run of a name, trained when it is first asked for."""
    opened = {}

    def of(name):
        if name not in opened:
            opened[name] = commanded(tmp_path_factory.mktemp(name), RUNS[name])
        return opened[name]

    return of


@pytest.fixture(scope="module")
def findings(results):
    """The finding of an analysis and the names of its run's axes."""
    answers = {}

    def of(name):
        run = results(RUN_OF.get(name, "plain"))
        if name not in answers:
            answers[name] = answer(name, run)
        return answers[name], {n for axis in run.plan.experiment.axes for n in axis.names}

    with pytest.MonkeyPatch.context() as patch:
        for constant, value in FEW.items():
            patch.setattr(dictionary, constant, value)
        yield of


each_analysis = pytest.mark.parametrize("name", ANALYSES)


@each_analysis
def test_every_key_is_described_and_every_described_key_occurs(name, findings):
    (finding, axes), keys = findings(name), ANALYSES[name].keys
    assert set(finding.numbers) == set(keys.numbers)
    assert finding.rows
    for row in finding.rows:
        assert set(row) - axes == set(keys.rows)
    assert set(finding.arrays) == set(keys.arrays)


@each_analysis
def test_arrays_have_the_axes_that_are_said(name, findings):
    sizes = {}
    for key, array in findings(name)[0].arrays.items():
        letters = re.fullmatch(r"\[(.+)\]", ANALYSES[name].keys.arrays[key].shape)[1].split(", ")
        assert len(letters) == array.ndim, key
        for letter, size in zip(letters, array.shape, strict=True):
            assert sizes.setdefault(letter, size) == size, (key, letter)
            assert not letter.isdecimal() or int(letter) == size, key


@each_analysis
def test_words_and_truth_values_are_those_that_are_said(name, findings):
    (finding, axes), keys = findings(name), ANALYSES[name].keys
    given = [(keys.numbers[key], value) for key, value in finding.numbers.items()]
    for row in finding.rows:
        given += [(keys.rows[key], value) for key, value in row.items() if key not in axes]
    for key, value in given:
        kind = {"word": str, "bool": bool}.get(key.unit, int | float)
        assert value is None or isinstance(value, kind), key
        assert (key.unit == "bool") == isinstance(value, bool) or value is None, key


@each_analysis
def test_the_question_is_the_first_line_of_the_module(name):
    module = importlib.import_module(f"superposition_cli.analyses.{name}")
    assert module.ANALYSIS is ANALYSES[name]
    assert module.ANALYSIS.question == module.__doc__.splitlines()[0]


@each_analysis
def test_what_is_described_has_words_and_a_known_unit(name):
    keys = ANALYSES[name].keys
    described = [*keys.numbers.values(), *keys.rows.values(), *keys.arrays.values()]
    assert all(key.meaning.strip() for key in described)
    assert {key.unit for key in described} <= UNITS
    assert not [key for key in (*keys.numbers.values(), *keys.rows.values()) if key.shape]


@pytest.mark.parametrize("source", shipped.configs().values(), ids=lambda path: path.stem)
def test_every_claim_is_about_a_described_key(source):
    experiment = config.load(source)
    axes = {name for axis in experiment.axes for name in axis.names}
    for entry in experiment.expect:
        name = analysis_of(entry)
        keys = ANALYSES[name].keys
        key = entry.finding.partition(".")[2]
        assert key in (keys.rows if entry.where else keys.numbers), entry.finding
        assert set(entry.where or {}) <= {*keys.rows, *axes}, entry.id


def test_searches_in_double_precision_run_on_the_cpu():
    assert [name for name, analysis in ANALYSES.items() if analysis.runs_on == "cpu"] == ["phase"]
