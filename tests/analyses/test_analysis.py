"""What analyses say of themselves, held against small findings and the shipped claims."""

import contextlib
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from helpers import commanded
from jax.stages import Wrapped
from lowering import foreign_calls, products, short_products

from superposition_cli import analyses, config
from superposition_cli.analyses import ANALYSES, analysis_of, answer, dictionary
from superposition_cli.analyses.findings import LEFT_OUT
from superposition_cli.config import shipped
from superposition_cli.toy import train
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
    "straight": f"""\
name: straight
model: {{kind: linear, n_features: 4, n_hidden: 2}}
data: {{feature_probability: 0.1}}
train: {{{TRAIN}, objective: population}}
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
def folder(tmp_path_factory):
    """Where the programs that analyses compile are written, a folder for each analysis."""
    train._programs.clear()
    jax.clear_caches()
    return tmp_path_factory.mktemp("programs")


@contextlib.contextmanager
def dumped(where):
    """Write down every program that is compiled, those of single operations among them."""
    where.mkdir()
    jax.config.update("jax_dump_ir_to", str(where))
    try:
        yield
    finally:
        jax.config.update("jax_dump_ir_to", "")


def texts(where):
    return [path.read_text(encoding="utf-8") for path in where.glob("*.mlir")]


class ForCuda:
    """A compiled function of an analysis that is lowered for CUDA too when it is first called."""

    def __init__(self, name, function, lowered):
        self.name, self.function, self.lowered = name, function, lowered

    def lower(self, *args):
        if self.name not in self.lowered:
            traced = self.function.trace(*args)
            self.lowered[self.name] = traced.lower(lowering_platforms=("cuda",)).as_text()

    def __call__(self, *args):
        self.lower(*args)
        return self.function(*args)

    def trace(self, *args):
        self.lower(*args)
        return self.function.trace(*args)


@pytest.fixture(scope="module")
def for_cuda():
    """Lowered programs of all compiled functions of analyses, as far as they have been called."""
    lowered = {}
    with pytest.MonkeyPatch.context() as patch:
        for path in Path(analyses.__file__).parent.glob("[!_]*.py"):
            module = importlib.import_module(f"superposition_cli.analyses.{path.stem}")
            for name, function in vars(module).copy().items():
                if isinstance(function, Wrapped):
                    known = f"{path.stem}.{name}"
                    patch.setattr(module, name, ForCuda(known, function, lowered))
                    compiled_names.add(known)
        yield lowered


compiled_names: set[str] = set()


@pytest.fixture(scope="module")
def findings(results, folder, for_cuda):
    """The finding of an analysis and the names of its run's axes."""
    answers = {}

    def of(name):
        run = results(RUN_OF.get(name, "plain"))
        if name not in answers:
            with dumped(folder / name):
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
    assert set(finding.numbers) == set(keys.numbers) - {LEFT_OUT}  # there only without rows
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


def test_products_of_analyses_are_in_full_precision(findings, folder):
    for name in ANALYSES:
        findings(name)
        assert [line for text in texts(folder / name) for line in short_products(text)] == [], name
    assert sum(products(text) for name in ANALYSES for text in texts(folder / name)) > 50


def test_compiled_functions_of_analyses_stay_on_the_device(findings, for_cuda, results):
    for name in ANALYSES:
        findings(name)
    answer("decomposition", results("straight"))  # its other half
    assert set(for_cuda) == compiled_names
    assert len(compiled_names) > 10
    for name, text in for_cuda.items():
        assert short_products(text) == [], name
        assert foreign_calls(text) == set(), name


@pytest.mark.parametrize(("precision", "seen"), [(None, 0), ("default", 1)])
def test_a_product_of_an_analysis_at_default_precision_is_seen(
    precision, seen, results, tmp_path, monkeypatch
):
    def compute(run):
        wide = jnp.ones((3, 17 + seen))  # shapes of no other test: compiled here
        return jnp.matmul(wide, wide.T, precision=precision)

    analysis = ANALYSES["cells"]._replace(compute=compute)
    monkeypatch.setitem(ANALYSES, "cells", analysis)
    with dumped(tmp_path / "programs"):
        answer("cells", results("plain"))
    assert len([hit for text in texts(tmp_path / "programs") for hit in short_products(text)]) == (
        seen
    )


ELSEWHERE = """
import jax, numpy as np, sys
import jax.numpy as jnp
from superposition_cli import analyses
from superposition_cli.analyses import ANALYSES, optimum
from superposition_cli.running import devices
from superposition_cli.toy import train
from conftest import make_knobs, make_spec
from helpers import Planned, BASE

cpu, other = jax.devices()
inner, places = train.program, set()

def program(*args, **named):
    places.add(str(train.default_device()))
    return inner(*args, **named)

train.program = program
jax.config.update("jax_default_device", None)
with jax.default_device(other):
    spec = make_spec(n_features=2, n_hidden=1, objective="population")
    knobs = make_knobs(dtype="float64", feature_probability=[.3, .3], importance=[1., 1.])
    many = jax.tree.map(lambda leaf: np.asarray(leaf)[None], knobs)
    optimum.search(spec, many, 2)
    assert places == {str(other)}, places
    genuine, devices.this_device = devices.this_device, lambda: type("Gpu", (), {"platform": "gpu"})
    for name, expected in (("phase", cpu), ("cells", other)):
        compute = lambda run: next(iter(jnp.ones(3).devices()))
        ANALYSES[name] = ANALYSES[name]._replace(compute=compute, needs=())
        assert analyses.answer(name, Planned(BASE)) == expected, name
"""


def test_analyses_and_their_threads_run_where_they_say():
    flags = "--xla_force_host_platform_device_count=2"
    tests = Path(__file__).parent.parent
    paths = os.pathsep.join(map(str, (tests, tests.parent)))
    env = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_double_precision_and_the_training_of_two_models_are_the_cpus():
    single = "adversarial cells computation decoding dictionary pentagon recovery rotation uniform"
    anywhere = {name for name, analysis in ANALYSES.items() if analysis.runs_on == "any"}
    assert anywhere == set(single.split())
