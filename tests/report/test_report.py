"""The report of a run: page, Markdown and terminal, from a run and from hostile names."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import helpers
import numpy as np
import pytest
from rich.console import Console

from superposition_cli.errors import InvalidInput
from superposition_cli.report import compare, content, page, picker, summary, write
from superposition_cli.running import fsio
from superposition_cli.running.results import Results

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e|`x`**"
CLAIMS = f"""\
analyses: [structure]
expect:
  - {{id: A1, finding: cells.cells, equals: 3, claim: {json.dumps(HOSTILE)}}}
  - {{id: A2, finding: cells.models, equals: 7, claim: fails}}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three cells of two models, with a claim that holds and one that fails."""
    path = tmp_path_factory.mktemp("reported") / "run"
    helpers.trained(path, helpers.TINY + CLAIMS)
    return path


@pytest.fixture(scope="module")
def one(run):
    return content.gather(Results(run))


@pytest.fixture(scope="module")
def html(one):
    return page.html(one, page.pictures(one))


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of script and style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.within, self.raw = [], [], [], {}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.within.append(tag)

    def handle_endtag(self, tag):
        if tag in self.within:
            del self.within[len(self.within) - 1 - self.within[::-1].index(tag) :]

    def handle_data(self, data):
        if self.within and self.within[-1] in ("script", "style"):
            self.raw.setdefault(self.within[-1], []).append(data)
        else:
            self.words.append(data)


def shown(parts, width=80):
    console = Console(width=width, no_color=True, record=True, file=io.StringIO())
    console.print(parts)
    return console.export_text()


def test_the_page_leads_nowhere(html):
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "srcset", "action", "data"):
            address = attributes.get(name, "")
            assert address.startswith(("data:", "#")) or not address, (tag, address)
        assert not any(name.startswith("on") or name == "style" for name in attributes)


def test_the_policy_allows_this_style_and_this_script_only(html):
    found = Page(html)
    policy = next(a["content"] for t, a in found.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    (css,) = found.raw["style"]
    _, script = found.raw["script"]  # the first one is data
    assert page.policy(css, script) == policy
    assert "unsafe" not in policy


def test_hostile_names_are_text(html, one):
    found = Page(html)
    words = " ".join(found.words)
    assert "<script>alert(1)</script>[31m|`x`**" in words
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", html)
    assert [tag for tag, _ in found.tags].count("script") == 2
    text = page.markdown(one, [])
    assert "<script>" not in text.split("## Configuration")[0]
    assert "\x1b" not in text
    assert "\x1b" not in shown(summary.view(one))


def test_the_page_shows_claims_figures_and_configuration(html, one):
    words = " ".join(Page(html).words)
    assert "1 of 2 claims hold" in words
    assert "FAILS" in words
    images = [a for tag, a in Page(html).tags if tag == "img"]
    assert len(images) == 5  # directions, gram, norms, the loss over the cells, and over steps
    for image in images:
        assert image["alt"]
        kind, data = image["src"].split(";base64,")
        start = {"data:image/svg+xml": b"<?xml", "data:image/png": b"\x89PNG"}[kind]
        assert base64.b64decode(data).startswith(start)
    assert "restarts: 2" in words
    assert "safetensors.torch" in words
    assert "jaxlib" in words
    assert one.facts["models"] == "3 cells × 2 restarts = 6 models; select: best"


def test_the_picker_holds_the_selected_weights(html, run):
    data = json.loads(Page(html).raw["script"][0])
    results = Results(run)
    assert data["axes"] == [{"name": "p", "values": ["1", "0.3", "0.05"]}]
    assert data["left_out"] == 0
    for cell, chosen in zip(data["cells"], results.cells["selected_model"], strict=True):
        assert cell["model"] == chosen
        np.testing.assert_allclose(cell["W"], results.model(int(chosen))["W"], atol=5e-4)
        np.testing.assert_allclose(cell["importance"], 0.9 ** np.arange(5), atol=5e-4)


def test_large_grids_are_thinned_and_large_models_left_out(run, monkeypatch):
    results = Results(run)
    monkeypatch.setattr(picker, "MAX_CELLS", 2)
    thin = picker.cells(results)
    assert [axis["values"] for axis in thin["axes"]] == [["1", "0.05"]]
    assert (len(thin["cells"]), thin["left_out"]) == (2, 1)
    monkeypatch.setattr(picker, "MAX_FEATURES", 4)
    assert picker.cells(results) == {"axes": [], "cells": [], "left_out": 3}


def test_a_cell_in_which_all_models_diverged_has_no_model(run):
    results = Results(run)
    chosen = np.where(results.cells["cell"] == 1, np.nan, results.cells["selected_model"])
    results.__dict__["cells"] = {**results.cells, "selected_model": chosen}
    assert [one is None for one in picker.cells(results)["cells"]] == [False, True, False]


def test_the_terminal_shows_the_verdicts_at_80_columns(one):
    lines = shown(summary.view(one)).splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "1 of 2 claims hold" in text
    assert re.search(r"A2 +fails +. 7 +6 +FAIL", text)


def test_a_sparkline_goes_from_the_least_to_the_largest():
    assert summary.sparkline([0.0, 0.5, None, 1.0]) == "▁▅ █"
    assert summary.sparkline([2.0, 2.0]) == "▅▅"
    assert summary.sparkline([None]) == " "


def test_the_command_prints_the_page_and_nothing_else(run, capsys, monkeypatch):
    done = helpers.sp(capsys, monkeypatch, "report", run)
    assert (done.code, done.out) == (0, f"{run / 'report' / 'index.html'}\n")
    assert "claims hold" in done.err
    (run / "report" / "gone.png").write_bytes(b"old")
    done = helpers.sp(capsys, monkeypatch, "report", run, "--format", "md", "-q")
    assert (done.out, done.err) == (f"{run / 'report' / 'report.md'}\n", "")
    assert not (run / "report" / "gone.png").exists()
    assert "](structure-gram.png)" in (run / "report" / "report.md").read_text()


def test_one_figure_is_plotted(run, tmp_path, capsys, monkeypatch):
    target = tmp_path / "figure.pdf"
    done = helpers.sp(capsys, monkeypatch, "plot", run, "structure-gram", "-o", target)
    assert (done.code, done.out) == (0, f"{target}\n")
    assert target.read_bytes().startswith(b"%PDF")
    done = helpers.sp(capsys, monkeypatch, "plot", run, "structure-gran", "-o", target)
    assert done.code == 2
    assert "did you mean 'structure-gram'?" in done.err
    done = helpers.sp(capsys, monkeypatch, "plot", run, "structure-gram", "-o", "x.bmp")
    assert done.code == 2
    done = helpers.sp(capsys, monkeypatch, "plot", run)
    assert done.out.split() == [
        "structure-directions",
        "structure-gram",
        "structure-norms",
        "cells-loss",
        "loss",
    ]


def test_unknown_formats_are_refused(run):
    with pytest.raises(InvalidInput, match="--format pdf"):
        write.report([str(run)], run.parent, "pdf")


def test_a_report_does_without_what_is_damaged(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "env.json").write_text("[")
    (copy / "events.jsonl").write_text('{"torn')
    found = content.gather(Results(copy))
    assert found.environment == {}
    assert found.facts["time"] == "unknown"
    assert fsio.read_json(run / "env.json")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same grid trained with a smaller batch, without claims."""
    path = tmp_path_factory.mktemp("other") / "run"
    helpers.trained(path, helpers.TINY, "train.batch_size=32")
    return path


def test_runs_are_compared(run, other, capsys, monkeypatch):
    done = helpers.sp(capsys, monkeypatch, "report", run, other)
    assert done.out == f"{run / 'report' / 'compare.html'}\n"
    assert "train.batch_size: 64 -> 32" in done.err
    found = Page((run / "report" / "compare.html").read_text())
    words = " ".join(found.words)
    assert "train.batch_size: 64 -> 32" in words
    assert "not asked" in words
    assert "p = 0.3" in words  # a cell of the grid they share
    assert [tag for tag, _ in found.tags].count("img") == 10  # five figures of each
    assert [tag for tag, _ in found.tags].count("script") == 0
    assert "train.batch\\_size" not in (run / "report" / "compare.md").read_text()


def test_runs_over_other_grids_have_no_common_cells(one, other):
    experiment = helpers.load(helpers.swept("seed: [1, 2, 3]"))
    results = Results(other)
    results.plan = results.plan.__class__(experiment, results.plan.groups)
    assert compare.cells([one, one._replace(results=results)]) is None
