"""`sp verify --seeds K`: which runs are made, what holds for how many of them, what is refused."""

import json
import shutil

import pytest
from helpers import load, sp, table

from superposition_cli import config
from superposition_cli.analyses import claims
from superposition_cli.analyses.claims import Spread

# Models as they begin: their losses differ from seed to seed.
BEGUN = """\
name: begun
seed: 3
model: {n_features: 5, n_hidden: 2}
data: {feature_probability: 0.1}
train: {steps: 0, batch_size: 64, restarts: 2, eval_samples: 1024}
expect:
  - {id: T1, claim: two models, finding: cells.models, equals: 2}
  - {id: T2, claim: how good chance is, finding: cells.loss, where: {cell: 0}, max: MAX}
  - {id: T3, claim: a rule, finding: cells.select, where: {cell: 0}, equals: mean}
"""


@pytest.fixture
def verify(capsys, monkeypatch, tmp_path):
    """Run `sp verify` on a configuration with the largest loss that T2 allows."""

    def call(*words, max_="1e9", text=BEGUN):
        file = tmp_path / "begun.yaml"
        file.write_text(text.replace("MAX", max_))
        return sp(capsys, monkeypatch, "verify", file, "--runs-dir", tmp_path, "-q", *words)

    return call


def losses(folder):
    """The loss of every run that was made, by its seed, from its table of cells."""
    rows = [table(path / "cells.csv")[0] for path in folder.glob("begun-*")]
    return {int(row["seed"]): float(row["loss"]) for row in rows}


def test_every_seed_is_the_run_that_set_would_make(verify, tmp_path):
    verify("--seeds", "3")
    hashes = [config.hash8(load(BEGUN.replace("MAX", "1"), f"seed={k}")) for k in (3, 4, 5)]
    assert {path.name for path in tmp_path.glob("begun-*")} == {f"begun-{h}" for h in hashes}
    assert sorted(losses(tmp_path)) == [3, 4, 5]
    assert len(set(losses(tmp_path).values())) == 3


def test_a_claim_that_holds_for_some_seeds_fails_and_says_for_how_many(verify, tmp_path):
    verify("--seeds", "3")
    ranked = sorted(losses(tmp_path).values())
    between = (ranked[1] + ranked[2]) / 2
    seen = verify("--seeds", "3", "--json", max_=repr(between))
    content = json.loads(seen.out)
    assert (seen.code, content["passed"], content["seeds"]) == (1, False, 3)
    models, loss, rule = content["claims"]
    same = {"least": 2, "median": 2, "most": 2, "counts": {}}
    assert models == {"config": "begun", "id": "T1", "held": 3, "seeds": 3, **same}
    assert (loss["id"], loss["held"]) == ("T2", 2)
    assert [loss[key] for key in ("least", "median", "most")] == pytest.approx(ranked, rel=1e-9)
    assert (rule["least"], rule["held"], rule["counts"]) == (None, 0, {"best": 3})
    seeds = [(run["seed"], run["verdicts"][1]["observed"]) for run in content["configs"]]
    assert dict(seeds) == pytest.approx(losses(tmp_path), rel=1e-9)
    assert [run["verdicts"][1]["passed"] for run in content["configs"]].count(True) == 2


def test_what_is_trained_is_not_trained_again(verify, tmp_path):
    verify("--seeds", "2")
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("weights.safetensors")}
    content = json.loads(verify("--seeds", "3", "--json").out)
    assert [run["train_seconds"] is None for run in content["configs"]] == [True, True, False]
    assert len({path.parents[2] for path in files}) == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_the_exit_code_is_0_where_every_claim_holds_for_every_seed(verify):
    text = "\n".join(line for line in BEGUN.splitlines() if "T3" not in line)
    assert verify("--seeds", "2", text=text).code == 0
    assert verify("--seeds", "2", text=text, max_="0").code == 1


def test_without_seeds_the_own_seed_alone_is_trained(verify, tmp_path):
    content = json.loads(verify("--json").out)
    assert (content["seeds"], list(losses(tmp_path))) == (1, [3])
    assert [run["seed"] for run in content["configs"]] == [3]
    assert content["claims"][1]["median"] == content["configs"][0]["verdicts"][1]["observed"]


def test_a_person_sees_the_spread_and_how_many_hold_in_80_columns(verify, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    verify("--seeds", "2")
    least, most = sorted(losses(tmp_path).values())
    seen = verify("--seeds", "2", max_=repr((least + most) / 2))
    title, heading, *_ = filter(str.strip, seen.out.splitlines())
    assert title.startswith("begun: 1 of 3 claims hold for each of 2 seeds; ")
    assert heading.split() == ["id", "claim", "expected", "observed", "spread", "held"]
    words = " ".join(seen.out.split())
    assert f"{least:.6g} ... " in words
    assert "1 of 2" in words
    assert "1 of 3 claims hold for each of 2 seeds in 2 runs" in words
    assert "not begun T2 (1 of 2), begun T3 (0 of 2)" in words
    assert max(map(len, seen.out.splitlines()[:-1])) <= 80


SWEPT = BEGUN + "sweep: {parameters: {seed: [1, 2]}}\n"
LINKED = BEGUN + (
    "sweep:\n"
    "  parameters: {seed: [1, 2], data.feature_probability: [0.1, 0.2]}\n"
    "  zip: [[seed, data.feature_probability]]\n"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SWEPT, "names seeds of its own"),
        (LINKED, "names seeds of its own"),
        (BEGUN.replace("{cell: 0}, max", "{seed: 3}, max"), "names seeds of its own"),
        (BEGUN.replace("seed: 3", f"seed: {2**32 - 1}"), "seed"),
    ],
)
def test_what_has_no_further_seeds_is_refused_before_anything_is_trained(
    verify, tmp_path, text, words
):
    seen = verify("--seeds", "2", text=text)
    assert (seen.code, seen.out, len(seen.err.splitlines())) == (2, "", 1)
    assert words in seen.err
    assert list(tmp_path.glob("begun-*")) == []


def test_a_run_is_refused_by_its_path_and_by_its_name(capsys, monkeypatch, verify, tmp_path):
    verify()
    (path,) = tmp_path.glob("begun-*")
    for name in (path, path.name):
        seen = sp(capsys, monkeypatch, "verify", name, "--seeds", 2, "--runs-dir", tmp_path)
        assert (seen.code, seen.out, len(seen.err.splitlines())) == (2, "", 1)
        assert seen.err.startswith(f"{name}: is a run; only a configuration")
    shutil.rmtree(path)


def test_a_spread_of_numbers_is_least_median_and_most():
    assert claims.spread([3.0, 1, 8.0], 2) == Spread(2, 3, 1, 3.0, 8.0, {})
    assert claims.spread([1, 2], 2).median == 1.5
    assert claims.spread([5], 1) == Spread(1, 1, 5, 5, 5, {})


@pytest.mark.parametrize(
    ("observed", "counts"),
    [
        (["2 digons", "1 pentagon", "2 digons"], {"2 digons": 2, "1 pentagon": 1}),
        ([True, True, False], {"true": 2, "false": 1}),
        ([0.5, None, 0.5], {"0.5": 2, "none": 1}),
        ([float("nan"), 1.0], {"nan": 1, "1": 1}),
    ],
)
def test_a_spread_of_words_is_how_often_each_came(observed, counts):
    seen = claims.spread(observed, 0)
    assert seen == Spread(0, len(observed), None, None, None, counts)


def test_a_spread_is_shown_by_its_middle_and_its_range():
    numbers, words = claims.spread([0.25, 0.5, 2.0], 3), claims.spread(["b", "a", "a"], 2)
    assert (claims.middle_shown(numbers), claims.range_shown(numbers)) == ("0.5", "0.25 ... 2")
    assert (claims.middle_shown(words), claims.range_shown(words)) == ("a", "1 x b, 2 x a")
    for same in ([7, 7], ["a", "a"]):
        one = claims.spread(same, 2)
        assert (claims.middle_shown(one), claims.range_shown(one)) == (str(same[0]), "")
