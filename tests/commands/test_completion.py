"""What the tab key offers, through the shell's own protocol."""

import pytest
from conftest import plugged
from typer.testing import CliRunner

from superposition_cli.cli import app

PLUGIN = """\
from superposition_cli.toy import models
MODELS = {"lively": models.MODELS["linear"]}
"""


@pytest.fixture
def offered(tmp_path, monkeypatch):
    """The words that bash gets for the last word of a line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lively.py").write_text(PLUGIN)

    def offer(line):
        words = str(len(line.split(" ")) - 1)
        asked = {"_SP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": words}
        with plugged():
            return CliRunner().invoke(app, [], env=asked, prog_name="sp").stdout.split()

    return offer


def test_shipped_configurations_are_offered(offered):
    assert offered("sp sweep phase_3") == ["phase_3_2", "phase_3_2_paper"]


def test_fields_and_their_words_are_offered(offered):
    assert offered("sp sweep x --set train.sch") == ["train.schedule="]
    assert offered("sp sweep x --set train.schedule=c") == [
        "train.schedule=constant",
        "train.schedule=cosine",
    ]
    assert offered("sp sweep x --set train.steps=1") == []


def test_words_of_plugins_are_offered(offered):
    assert offered("sp sweep x --set model.kind=li") == ["model.kind=linear"]
    both = ["model.kind=linear", "model.kind=lively"]
    assert offered("sp sweep x --use lively.py --set model.kind=li") == both
    assert offered("sp sweep x --use absent.py --set model.kind=li") == []
