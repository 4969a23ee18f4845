"""The page of claims: what it lists, what it takes in, and one configuration end to end."""

import json
import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from superposition_cli import config
from superposition_cli.cli import app
from superposition_cli.config import shipped

DOCS = Path(__file__).parents[1] / "docs"
claims = runpy.run_path(str(DOCS / "make_claims.py"))

# Claims of the field that something here must check, by a configuration or a unit test.
CHECKED = """
    V01 V02 V03 V04 V05 V06 V07 V08 V09 V10 V11 V12 V13 V14 V15 V16 V17 V18
    V25 V26 V27 V28 V29 V30
    V31 V32 V33 V34 V35 V36 V37 V38 V39 V40 V41 V42 V57 V58 V59 V60 V61 V62
    V64 V65
"""


def test_the_page_is_what_the_script_writes():
    assert (DOCS / "claims.md").read_text(encoding="utf-8") == claims["page"]()


def test_every_claim_is_checked_somewhere():
    assert set(CHECKED.split()) - claims["ids"]() == set()


def test_every_test_of_a_claim_says_what_it_checks():
    assert [claim for claim in claims["of_tests"]() if not claim.text] == []


def test_every_observation_is_of_a_configuration_that_is_there():
    assert set(claims["load"]()) <= set(claims["of_configs"]())


def test_claims_are_read_from_the_names_of_tests(tmp_path):
    (tmp_path / "test_a.py").write_text(
        "raise SystemExit('must not run')\n"
        "@pytest.mark.parametrize('k', [1])\n@pytest.mark.slow\n"
        "def test_v91_v92a_two_at_once(k):\n    '''Both: 2 within 1e-9.\n\n    More.'''\n"
        "def test_v93_a_boundary(): pass\ndef test_vectors(): pass\ndef helper_v94_x(): pass\n"
    )
    assert claims["of_tests"](tmp_path) == [
        ("V91", "Both: 2 within 1e-9", "test_a.py::test_v91_v92a_two_at_once", True),
        ("V92a", "Both: 2 within 1e-9", "test_a.py::test_v91_v92a_two_at_once", True),
        ("V93", "", "test_a.py::test_v93_a_boundary", False),
    ]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What `sp verify` prints for a configuration of the field, trained in full."""
    runs = str(tmp_path_factory.mktemp("claims"))
    done = CliRunner().invoke(app, ["verify", "octahedron", "-q", "--json", "--runs-dir", runs])
    assert done.exit_code == 0, done.stdout
    return json.loads(done.stdout)


def test_an_observation_replaces_that_of_its_configuration_only(printed):
    kept = {"octahedron": "older", "intro": "other"}
    taken = claims["taken_in"](kept, printed)
    assert taken["intro"] == "other"
    assert taken["octahedron"]["date"] == printed["created"][:10]
    assert set(taken) == set(kept)
    assert kept["octahedron"] == "older"
    # an octahedron of features with probability p costs p²
    (observed,) = taken["octahedron"]["claims"]["V34a"]["observed"]
    assert observed == pytest.approx(0.05**2, rel=0.02)


def verdict(printed, id_, **changes):
    """The verdict of the page on a claim of `octahedron` whose expectation has changed."""
    experiment = config.load(shipped.find("octahedron"))
    (entry,) = (entry for entry in experiment.expect if entry.id == id_)
    seen = claims["taken_in"]({}, printed)["octahedron"]
    return claims["verdict"](experiment, entry.model_copy(update=changes), seen)[-1]


def test_an_observation_counts_as_long_as_the_same_is_asked(printed):
    assert verdict(printed, "V34a") == "pass"
    assert verdict(printed, "V34a", claim="in other words") == "pass"
    assert verdict(printed, "V34a", rtol=0.03) == "stale"
    assert verdict(printed, "V34a", where={"data.feature_probability": 0.1}) == "stale"
    assert verdict(printed, "V34a", finding="sets.digon_ratio") == "stale"
    assert verdict(printed, "V34a", id="V99") == "not observed"


def test_an_observation_of_another_training_is_stale_and_a_failed_one_says_so(printed):
    other = json.loads(json.dumps(printed))
    (one,) = other["configs"]
    one["verdicts"][0]["observed"] = 0.01
    assert verdict(other, "V34a") == "FAIL"
    one["hash8"] = "00000000"
    assert verdict(other, "V34a") == "stale"


def test_the_page_counts_verdicts_and_says_what_was_never_observed(printed):
    page = claims["page"](claims["taken_in"]({}, printed))
    count = len(config.load(shipped.find("octahedron")).expect)
    assert f" not observed, {count} pass.\n" in page
    assert "| `intro` | fast | never |" in page


def of_seeds(printed, *losses):
    """What would be printed of further seeds: the same run with another loss at p = .05."""
    (own,) = printed["configs"]
    runs = [own]
    for loss in losses:
        run = json.loads(json.dumps(own))
        run["seed"], run["hash8"] = len(runs), f"{len(runs):08}"
        (entry,) = (v for v in run["verdicts"] if v["id"] == "V34a")
        entry["observed"] = loss
        runs.append(run)
    return {**printed, "configs": runs}


def test_an_observation_holds_all_seeds_of_a_configuration(printed):
    (own,) = printed["configs"]
    taken = claims["taken_in"]({}, of_seeds(printed, 0.002, 0.00249))["octahedron"]
    first = next(v["observed"] for v in own["verdicts"] if v["id"] == "V34a")
    assert taken["claims"]["V34a"]["observed"] == [first, 0.002, 0.00249]
    assert (taken["seeds"], taken["hash8"]) == ([0, 1, 2], own["hash8"])
    assert taken["train_seconds"] == pytest.approx(3 * own["train_seconds"])


def test_the_page_says_for_how_many_seeds_a_claim_holds_and_what_they_showed(printed):
    # V34a asks p² = .0025 within 2 %: .00245 to .00255; .002 and .003 are outside.
    taken = claims["taken_in"]({}, of_seeds(printed, 0.002, 0.00249, 0.003, 0.00251))
    (row,) = (x for x in claims["page"](taken).splitlines() if x.startswith("| V34a "))
    observed, held, word = (cell.strip() for cell in row.split("|")[5:8])
    assert (held, word) == ("3 of 5", "FAIL")
    assert observed.endswith("(0.002 ... 0.003)")
    (line,) = (
        x for x in claims["page"](taken).splitlines() if x.startswith("| `octahedron` | fast")
    )
    assert "| 0 to 4 |" in line


def test_an_observation_of_some_seeds_that_were_there_has_no_time(printed):
    several = of_seeds(printed, 0.0025)
    several["configs"][1]["train_seconds"] = None
    assert claims["taken_in"]({}, several)["octahedron"]["train_seconds"] is None
