"""What a release says of itself is the same in every file that says it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import superposition_cli

ROOT = Path(__file__).parents[1]
MAINTAINERS = "the superposition-cli maintainers"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(text("pyproject.toml"))["project"]


def test_the_version_is_that_of_the_distribution(project):
    assert superposition_cli.__version__ == project["version"]


def test_the_citation_names_this_project_and_version(project):
    cited = yaml.safe_load(text("CITATION.cff"))
    assert cited["cff-version"] == "1.2.0"
    for here, there in [("title", "name"), ("version", "version"), ("license", "license")]:
        assert cited[here] == project[there]
    assert cited["abstract"] == project["description"]
    assert cited["authors"] == project["authors"] == [{"name": MAINTAINERS}]


def test_the_licence_is_the_one_declared(project):
    first, _, holder = text("LICENSE").splitlines()[:3]
    assert (first, project["license"]) == ("MIT License", "MIT")
    assert holder.endswith(MAINTAINERS)


def test_hosted_tests_run_on_declared_versions_and_the_oldest(project):
    job = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]["test"]
    tried = job["strategy"]["matrix"]["python"]
    named = re.findall(r":: (3\.\d+)$", "\n".join(project["classifiers"]), re.M)
    assert set(tried) <= set(named)
    assert project["requires-python"] == f">={min(tried, key=lambda v: int(v[2:]))}"
    assert [step["run"] for step in job["steps"] if "run" in step] == ["bash .ci/run"]
