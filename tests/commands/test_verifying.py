"""Claims and findings: what is picked, what holds, what is kept, and the two commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import TINY, sp
from typer.testing import CliRunner

from superposition_cli.analyses import claims, findings
from superposition_cli.analyses.findings import Finding
from superposition_cli.cli import app
from superposition_cli.config import Expectation
from superposition_cli.errors import InvalidInput

FINDING = Finding(
    {"share": 0.93, "none": None},
    ({"p": 0.1, "kind": "linear", "count": 5}, {"p": 0.1, "kind": "relu", "count": 8}),
    {"curve": np.arange(3.0)},
)


def claim(**fields):
    return Expectation(id="X", finding="a.b", **fields)


@pytest.mark.parametrize(
    ("fields", "observed", "passes"),
    [
        ({"equals": 5}, 5, True),
        ({"equals": 5}, 6, False),
        ({"equals": "2 digons"}, "2 digons", True),
        ({"min": 0.9}, 0.9, True),
        ({"min": 0.9}, 0.89, False),
        ({"max": 1.0}, 1.1, False),
        ({"approx": 72.0, "tol": 4.0}, 75.9, True),
        ({"approx": 72.0, "tol": 4.0}, 67.9, False),
        ({"approx": -2.0, "rtol": 0.01}, -2.01, True),
        ({"approx": -2.0, "rtol": 0.01}, -2.03, False),
        ({"min": 0.0}, None, False),
        ({"min": 0.0}, float("nan"), False),
        ({"max": 1.0}, float("nan"), False),
    ],
)
def test_a_claim_holds_or_fails(fields, observed, passes):
    assert claims.holds(claim(**fields), observed) is passes


def test_what_is_expected_is_said_with_its_tolerance():
    assert claims.expected(claim(approx=0.45, tol=0.05)) == "0.45 +- 0.05"
    assert claims.expected(claim(approx=2.0, rtol=0.02)) == "2 +- 2 %"
    assert claims.expected(claim(min=0.9)) == ">= 0.9"
    assert claims.expected(claim(equals=True)) == "= true"


def test_values_are_shown_as_a_configuration_writes_them():
    values = (None, True, 5, 1.0000123, "2 digons", float("nan"))
    assert [claims.shown(one) for one in values] == [
        "none",
        "true",
        "5",
        "1.00001",
        "2 digons",
        "nan",
    ]


def test_a_number_of_the_whole_or_of_one_row_is_picked():
    assert findings.pick(FINDING, "share", None) == 0.93
    assert findings.pick(FINDING, "count", {"p": 0.1 + 1e-12, "kind": "relu"}) == 8


@pytest.mark.parametrize(
    ("key", "where", "words"),
    [
        ("shore", None, "there are share, none"),
        ("count", {"p": 0.1}, "2 rows, not one"),
        ("count", {"p": 0.2}, "0 rows, not one"),
        ("counts", {"kind": "relu"}, "they have p, kind, count"),
    ],
)
def test_what_is_not_there_is_refused(key, where, words):
    with pytest.raises(InvalidInput, match=words):
        findings.pick(FINDING, key, where)


def test_a_finding_is_kept_and_read_again(tmp_path):
    findings.save(tmp_path, "a", FINDING)
    again = findings.load(tmp_path, "a")
    assert dict(again.numbers) == FINDING.numbers
    assert list(again.rows) == list(FINDING.rows)
    assert again.arrays["curve"].tolist() == [0, 1, 2]
    assert findings.load(tmp_path, "b") is None


CLAIMS = (
    "expect:\n"
    "  - {id: T1, claim: all trained, finding: cells.cells, equals: 3}\n"
    "  - id: T2\n    claim: restarts\n    finding: cells.models\n"
    "    where: {data.feature_probability: 0.3}\n    VALUE\n"
)


def run(*words):
    return CliRunner().invoke(app, list(words))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("verify")


def written(folder, value):
    path = folder / "tiny.yaml"
    path.write_text(TINY + CLAIMS.replace("VALUE", value))
    return str(path)


def test_verify_trains_what_is_missing_and_says_what_holds(folder):
    done = run("verify", written(folder, "equals: 2"), "--runs-dir", str(folder), "-q", "--json")
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["passed"] is True
    (one,) = content["configs"]
    assert [(v["id"], v["observed"]) for v in one["verdicts"]] == [("T1", 3), ("T2", 2)]
    assert one["train_seconds"] > one["analysis_seconds"] > 0
    assert one["hash8"] == one["run"][-8:]


def test_verify_takes_a_run_by_its_name_and_by_the_beginning_of_it(folder):
    made = run("sweep", written(folder, "equals: 2"), "--runs-dir", str(folder), "-q")
    name = Path(made.stdout.strip()).name
    for word in (name, name[:-3]):
        done = run("verify", word, "--runs-dir", str(folder), "-q", "--json")
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["configs"][0]["run"] == str(folder / name)
    assert run("verify", "tinier", "--runs-dir", str(folder), "-q").exit_code != 0


def test_a_beginning_that_several_runs_have_is_asked_back(tmp_path, capsys, monkeypatch):
    for name in ("same-00000001", "same-00000002"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text("{}")
    for command in ("verify", "show"):
        result = sp(capsys, monkeypatch, command, "same", "--runs-dir", tmp_path)
        assert result.code == 2
        assert result.err == "same: which one? same-00000001, same-00000002\n"


def test_verify_json_is_described(folder):
    path = written(folder, "equals: 2")
    content = json.loads(run("verify", path, "--runs-dir", str(folder), "-q", "--json").stdout)
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    section = page.split("## sp verify --json")[1].split("\n## ")[0]
    listed = set(re.findall(r"^\| `([^`]+)` \|", section, re.M))
    (one,) = content.pop("configs")
    verdicts = {f"configs[].verdicts[].{key}" for row in one.pop("verdicts") for key in row}
    totals = {f"claims[].{key}" for row in content.pop("claims") for key in row}
    assert set(content) | {f"configs[].{key}" for key in one} | verdicts | totals == listed


def test_a_finished_run_is_verified_without_its_configuration(folder):
    path = Path(written(folder, "equals: 2"))
    run("verify", str(path), "--runs-dir", str(folder), "-q")
    path.unlink()
    (trained,) = folder.glob("tiny-*")
    content = json.loads(run("verify", str(trained), "-q", "--json").stdout)
    assert content["passed"] is True
    assert content["configs"][0]["train_seconds"] is None


def test_a_person_sees_a_table_of_80_columns_and_progress_beside_it(capsys, monkeypatch, folder):
    monkeypatch.setenv("COLUMNS", "80")
    seen = sp(capsys, monkeypatch, "verify", written(folder, "equals: 7"), "--runs-dir", folder)
    assert seen.code == 1
    title, *_, summary = seen.out.splitlines()
    assert title.startswith("tiny: 1 of 2 claims hold; trained")
    assert summary.startswith("1 of 2 claims hold in 1 run, ")
    assert summary.endswith("s; not tiny T2")
    assert max(map(len, seen.out.splitlines())) <= 80
    assert re.search(r"^ T2 +restarts +.*= 7 +2 +FAIL *$", seen.out, re.M)
    assert seen.err.startswith(f"[1/1] tiny: {folder}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (TINY, "odd.yaml: has no claims to verify"),
        (
            TINY + "expect: [{id: T9, finding: nothing.share, min: 1}]\n",
            "expect.0.finding: nothing is no analysis",
        ),
        (None, "no such file or shipped configuration"),
    ],
)
def test_what_cannot_be_verified_is_refused_before_anything_is_trained(
    capsys, monkeypatch, tmp_path, content, words
):
    good, odd = written(tmp_path, "equals: 2"), tmp_path / "odd.yaml"
    if content:
        odd.write_text(content)
    seen = sp(capsys, monkeypatch, "verify", good, odd, "--runs-dir", tmp_path)
    assert (seen.code, seen.out) == (2, "")
    assert words in seen.err
    assert list(tmp_path.glob("tiny-*")) == []


def test_a_changed_claim_is_checked_without_training_and_a_failed_one_ends_with_1(folder):
    run("verify", written(folder, "equals: 2"), "--runs-dir", str(folder), "-q")
    (weights,) = {p for p in folder.glob("tiny-*/chunks/00000/weights.safetensors")}
    before = weights.stat().st_mtime_ns
    done = run("verify", written(folder, "equals: 7"), "--runs-dir", str(folder), "-q")
    assert done.exit_code == 1
    assert "FAIL" in done.stdout
    assert weights.stat().st_mtime_ns == before


def test_analyze_computes_and_keeps_findings(folder):
    run("verify", written(folder, "equals: 2"), "--runs-dir", str(folder), "-q")
    done = run("analyze", "tiny", "--runs-dir", str(folder), "--again", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["numbers"]["cells"]["models"] == 6
    assert list(folder.glob("tiny-*/findings/cells.json"))
