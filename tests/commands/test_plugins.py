"""Plug-ins: what they bring is used like the package's own, what they break is told in one line."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import plugged
from helpers import sp

import superposition_cli
from superposition_cli.commands import plugins
from superposition_cli.config import words
from superposition_cli.toy import data

CONFIG = """\
name: mine
model: {kind: MODEL, n_features: 5, n_hidden: 2}
data: {kind: DATA, feature_probability: 0.2}
train: {steps: 40, restarts: 2, batch_size: 64, eval_samples: 65536, draws: shared}
metrics: [n_represented]
"""
COPY = """\
from superposition_cli.toy import models
RELU = models.MODELS["relu_output"]
MODELS = {"copied": models.Model(*RELU)}
"""
BARE = """\
from superposition_cli.toy import models
RELU = models.MODELS["relu_output"]
MODELS = {"bare": RELU._replace(few_active=None)}
"""
# One gate for all features, open half of the time: marginals p/2, pairs p_i p_j / 2.
GATED = """\
import jax
import jax.numpy as jnp
from superposition_cli.toy import data, rng

def draw(spec, knobs, key, batch):
    gate = rng.uniform(jax.random.fold_in(key, 0), (1, batch), knobs.high.dtype) <= 0.5
    x = data.draw_independent(spec, knobs, jax.random.fold_in(key, 1), batch)
    return jnp.where(gate, x, 0)

def marginal(spec, knobs):
    return knobs.feature_probability / 2

def joint(spec, knobs):
    return jnp.outer(knobs.feature_probability, knobs.feature_probability) / 2

SAMPLERS = {
    "gated": data.Sampler(draw, marginal, joint, moments=data.moments_of_uniform),
    "mute": data.Sampler(draw, marginal, joint),
}
"""
LAW = """\
from superposition_cli.toy import data
LAW = data.SAMPLERS["anticorrelated"]
SAMPLERS = {"told": data.Sampler(*LAW), "untold": LAW._replace(choices=None)}
"""
METRIC = """\
import jax.numpy as jnp
from superposition_cli.toy.metrics import Metric
METRICS = {"largest_norm": Metric(lambda W, activity: jnp.linalg.norm(W, axis=1).max(), (), "max")}
"""


@pytest.fixture(autouse=True)
def tables():
    """Take back what plug-ins have added."""
    with plugged():
        yield


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    """Run `sp` beside files of the test's own: (words..., files={name: text})."""
    monkeypatch.setenv("SP_RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*given, **files):
        for name, text in files.items():
            Path(f"{name}.py").write_text(text, encoding="utf-8")
        used = [word for name in files for word in ("--use", f"{name}.py")]
        return sp(capsys, monkeypatch, *given, *used)

    return run


def config(model="relu_output", law="uniform", more=""):
    path = Path(f"{model}-{law}.yaml")
    path.write_text(CONFIG.replace("MODEL", model).replace("DATA", law) + more)
    return path


def opened(result):
    assert result.code == 0, result.err
    return superposition_cli.load(result.out.strip())


def test_a_copied_model_gives_the_same_bits(command):
    own = opened(command("train", config(), "-q"))
    copied = opened(command("train", config("copied"), "-q", copy=COPY))
    for name in ("W", "b"):
        np.testing.assert_array_equal(copied.weights[name], own.weights[name])
    np.testing.assert_array_equal(copied.summary["loss"], own.summary["loss"])
    assert copied.run.manifest["hash8"] != own.run.manifest["hash8"]


def test_a_model_without_closed_forms_is_judged_by_quadrature(command):
    own = opened(command("train", config(), "-q"))
    bare = opened(command("train", config("bare"), "-q", bare=BARE))
    np.testing.assert_array_equal(bare.weights["W"], own.weights["W"])
    off = np.abs(bare.summary["loss"] - own.summary["loss"])
    assert (off <= bare.summary["loss_error"] + own.summary["loss_error"]).all()
    assert not (off == 0).all()  # 24 nodes along one feature are no closed form


def test_data_without_patterns_train_are_judged_by_samples_and_say_so(command):
    result = command("train", config(law="gated"), "-q", gated=GATED)
    run = opened(result)
    said = "gated data list no activity patterns: losses are means over 65,536 samples"
    assert said in result.err
    assert (run.summary["loss_error"] > 0).all()
    # var y = q/3 - (q/2)^2 with q = .1 the marginal, five features of importance 1
    assert run.summary["null_loss"] == pytest.approx(5 * (0.1 / 3 - 0.1**2 / 4), rel=1e-5)


def test_data_without_moments_have_a_null_loss_of_samples_and_say_so(command):
    result = command("train", config(law="mute"), "-q", gated=GATED)
    found = opened(result).summary["null_loss"]
    assert "null_loss and loss_normalised are of 65,536 samples" in result.err
    assert result.err.count("\n") == 2
    # Standard error: y_i² has variance q/5 - (q/3)² = .0189 of one feature; the gate makes the
    # five dependent, so at most 5 sqrt(.0189 / 65536) = .0027.
    assert found == pytest.approx(5 * (0.1 / 3 - 0.1**2 / 4), abs=5 * 0.0027)


def test_the_population_objective_refuses_data_without_patterns_in_one_line(command):
    words_ = ("train", config(law="gated"), "--set", "train.objective=population")
    result = command(*words_, gated=GATED)
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "--set train.objective=population: population needs the activity patterns of the data, "
        "and gated lists none: use sampled\n"
    )


def test_patterns_of_a_plugin_that_says_no_counts_are_all_subsets(command):
    def checked(law, n):
        sets = f"--set=data.sets=[{list(range(n))}]"
        wide = (f"--set=model.n_features={n}", "--set=train.objective=population")
        return command("validate", config(law=law), sets, *wide, law=LAW)

    assert [checked("untold", 6).code, checked("told", 7).code, checked("told", 50).code] == [0] * 3
    refused = checked("untold", 7)
    assert refused.code == 2
    assert "79,886 nodes for 128 activity patterns of 7 features; at most 74,770" in refused.err


def test_a_run_keeps_the_text_and_needs_the_plugin_again(command, tmp_path):
    run = opened(command("train", config("copied"), "-q", copy=COPY)).run
    (plugin,) = run.manifest["plugins"]
    assert (plugin["file"], plugin["defines"]) == ("copy.py", ["MODELS.copied"])
    assert (run.path / plugin["kept_as"]).read_text() == COPY
    words.LOADED.clear()
    refused = command("show", run.path)
    assert refused.code == 4
    assert "was made with --use copy.py (its text is kept in plugin-0-copy.py.txt)" in refused.err
    inside = command("show", run.path, "--use", run.path / plugin["kept_as"])
    assert (inside.code, inside.err.count("\n")) == (2, 1)
    assert "lies in a run folder, from which nothing is executed" in inside.err
    del words.MODELS["copied"], plugins.DOORS["MODELS"].home.MODELS["copied"]
    assert command("show", run.path, copy=COPY).code == 0


def test_another_text_is_another_run(command):
    first = opened(command("train", config("copied"), "-q", copy=COPY)).run.path
    for table in (words.LOADED, words.MODELS, plugins.DOORS["MODELS"].home.MODELS):
        table.pop("copied", None)
    words.LOADED.clear()
    second = opened(command("train", config("copied"), "-q", copy=COPY + "# changed\n")).run.path
    assert first != second


def test_a_metric_of_a_plugin_is_measured_and_leaves_the_hash_alone(command):
    own = opened(command("train", config(), "-q", "--out", "a")).run
    measured = ("--set", "metrics=[largest_norm]")
    run = opened(command("train", config(), "-q", *measured, "--out", "b", metric=METRIC))
    norms = np.linalg.norm(run.weights["W"], axis=2).max(axis=1)
    assert run.summary["largest_norm"] == pytest.approx(norms, rel=1e-6)
    assert run.run.manifest["hash8"] == own.manifest["hash8"]
    assert [one["in_hash"] for one in run.run.manifest["plugins"]] == [False]


def test_plugins_are_listed_and_in_the_schema(command):
    assert "copied" in command("list", "models", copy=COPY).out
    kinds = json.loads(command("schema").out)["$defs"]["ModelSettings"]["properties"]["kind"]
    assert kinds["enum"][-1] == "copied"


def test_an_installed_plugin_is_taken_in(command, monkeypatch, tmp_path):
    (tmp_path / "installed_copy.py").write_text(COPY)
    monkeypatch.syspath_prepend(tmp_path)
    entry = SimpleNamespace(name="copy", module="installed_copy")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    assert "copied" in command("list", "models").out
    for module in ("not_there", "not_there.deeper"):
        absent = SimpleNamespace(name="x", module=module)
        monkeypatch.setattr(plugins, "entry_points", lambda group, absent=absent: [absent])
        assert command("list", "models").err == f"plug-in x: there is no module {module}\n"


MODEL = "from superposition_cli.toy import models\nRELU = models.MODELS['relu_output']\n"
FAULTS = {
    "syntax": ("MODELS = {", "bad.py:1: SyntaxError: '{' was never closed"),
    "raises": ("x = 1\nraise RuntimeError('no')\n", "bad.py:2: RuntimeError: no"),
    "exits": ("import sys\nsys.exit(3)\n", "bad.py:2: SystemExit: 3"),
    "nothing": ("x = 1\n", "bad.py: defines none of MODELS, SAMPLERS, TARGETS,"),
    "list": ("MODELS = []\n", "bad.py: MODELS must be a dict; got list"),
    "kind": (
        "MODELS = {'a': 1}\n",
        "bad.py: MODELS['a'] must be a superposition_cli.toy.models.Model; got int",
    ),
    "name": (MODEL + "MODELS = {'A b': RELU}\n", "bad.py: MODELS['A b']: a name has small letters"),
    "clash": (
        MODEL + "MODELS = {'linear': RELU}\n",
        "bad.py: MODELS['linear']: there is one of that name already, built in",
    ),
    "table": (
        "from superposition_cli.toy.models import MODELS\n",
        "bad.py: MODELS is the package's own table",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_taken_in_gets_one_line(command, fault):
    text, line = FAULTS[fault]
    result = command("list", "models", bad=text)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert result.err.startswith(line)


def test_what_two_files_define_is_refused_and_one_file_twice_is_not(command):
    result = command("list", "models", copy=COPY, copy2=COPY + "# another\n")
    assert result.err == (
        "copy2.py: MODELS['copied']: there is one of that name already, from copy.py\n"
    )
    assert command("list", "models", "--use", "copy.py", copy=COPY).code == 0
    assert command("list", "models", "--use", "absent.py").err == (
        "absent.py: there is no such file\n"
    )


FAILING = {
    "shape": ("apply=lambda params, x: x.T", "MODELS['bad'].apply returns the shape [3, 5], not"),
    "raise": ("apply=lambda params, x: params['V']", "MODELS['bad'].apply failed: KeyError: 'V'"),
    "gradient": (
        "apply=lambda params, x: jax.lax.while_loop(lambda y: y.sum() < 0, lambda y: y + 1, "
        "models.apply_linear(params, x))",
        "Reverse-mode differentiation does not work for lax.while_loop",
    ),
}


@pytest.mark.parametrize("fault", FAILING)
@pytest.mark.parametrize("word", ["train", "validate"])
def test_a_function_that_fails_gets_one_line_with_its_file_and_name(command, fault, word):
    change, line = FAILING[fault]
    text = f"import jax\n{MODEL}MODELS = {{'bad': RELU._replace(few_active=None, {change})}}\n"
    result = command(word, config("bad"), bad=text)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
    assert result.err.startswith("bad.py")
    assert line in result.err
    assert not Path("runs").exists()


def test_the_traceback_is_shown_on_request(command):
    text = f"{MODEL}MODELS = {{'bad': RELU._replace(apply=lambda params, x: params['V'])}}\n"
    result = command("train", config("bad"), "-v", bad=text)
    assert "Traceback (most recent call last)" in result.err
    assert "KeyError: 'V'" in result.err
    assert result.code == 2


def test_a_marginal_of_a_plugin_is_the_settings_marginal(command):
    command("list", "models", gated=GATED)
    from superposition_cli.config import loads

    experiment = loads(CONFIG.replace("MODEL", "abs").replace("DATA", "gated"), "f.yaml")
    assert experiment.base.marginal() == pytest.approx((0.1,) * 5)
    assert "gated" in data.SAMPLERS
