"""docs/extending.md: every plug-in on the page, a whole file, is taken in and used as it says."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import plugged
from helpers import sp

import superposition_cli
from superposition_cli.analyses import ANALYSES, analyze
from superposition_cli.errors import InvalidInput

PAGE = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^<!-- (plug-in|with): (\w+\.py) -->\n```\w+\n(.*?)^```$", re.M | re.S)
FILES = {file: text for kind, file, text in BLOCK.findall(PAGE) if kind == "plug-in"}
CONFIGS = {file: text for kind, file, text in BLOCK.findall(PAGE) if kind == "with"}


@pytest.fixture
def command(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with plugged():
        yield lambda *words: sp(capsys, monkeypatch, *words)


def trained(command, file):
    """The run that a page's configuration makes with a page's plug-in."""
    Path(file).write_text(FILES[file], encoding="utf-8")
    Path("page.yaml").write_text(CONFIGS[file], encoding="utf-8")
    result = command("sweep", "page.yaml", "--use", file, "-q")
    assert result.code == 0, result.err
    return superposition_cli.load(result.out.strip()), result.err


def test_every_plugin_has_a_configuration():
    assert set(FILES) == set(CONFIGS) == {"leaky.py", "gated.py", "small.py", "antipodal.py"}


def test_the_model_computes_what_it_says(command):
    run, _ = trained(command, "leaky.py")
    W, b = (run.weights[name][0] for name in "Wb")
    x = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    from superposition_cli.toy.models import MODELS

    z = W @ (W.T @ x) + b[:, None]
    y = np.asarray(MODELS["leaky"].apply({"W": W, "b": b}, x))
    np.testing.assert_allclose(y, np.where(z > 0, z, z / 10), rtol=1e-5, atol=1e-6)
    assert (run.summary["loss_error"] < 1e-3).all()  # quadrature, not samples


def test_the_data_are_what_they_say(command):
    run, said = trained(command, "gated.py")
    assert "gated data list no activity patterns" in said
    # q = .1: var = q/3 - (q/2)², five features of importance 1
    assert run.summary["null_loss"] == pytest.approx(5 * (0.1 / 3 - 0.1**2 / 4), rel=1e-5)


def test_target_metric_and_objective_are_used(command):
    run, said = trained(command, "small.py")
    assert "come without moments" in said
    longest = np.linalg.norm(run.weights["W"], axis=2).max(axis=1)
    assert run.summary["longest"] == pytest.approx(longest, rel=1e-5)
    # ReLU(x) of x in U[-1, 1] with p = .3: mean .3/4, square .3/6; four features. E y⁴ = .3/10, so
    # each variance has a standard error of sqrt(.03 - .05²)/sqrt(131072) = 1 %, four together .5 %.
    assert run.summary["null_loss"] == pytest.approx(4 * (0.3 / 6 - (0.3 / 4) ** 2), rel=0.02)


def test_the_analysis_is_computed_drawn_and_claimed(command):
    run, _ = trained(command, "antipodal.py")
    path = run.run.path
    assert command("verify", path, "-q").code == 0
    assert command("report", path, "-q").code == 0
    assert (path / "report" / "antipodal-pairs.png").stat().st_size > 5_000
    missing = "antipodal: there is no such analysis; a plug-in that defines it: --use FILE.py"
    del ANALYSES["antipodal"]
    with pytest.raises(InvalidInput, match=missing):
        analyze(run, ("antipodal",), again=True)
    assert "Which features share a line" not in command("list", "analyses").out


def test_an_analysis_of_a_plugin_is_listed_by_its_question(command):
    Path("antipodal.py").write_text(FILES["antipodal.py"], encoding="utf-8")
    command("list", "analyses", "--use", "antipodal.py")
    assert "Which features share a line" in command("list", "analyses").out.replace("\n", " ")
