"""The manual says what the code does: commands, fields, files, arrays, words, links."""

import csv
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import plugged
from pydantic_core import PydanticUndefined

from superposition_cli import bench, config
from superposition_cli.config import axes, vectors
from superposition_cli.config.experiment import Experiment
from superposition_cli.config.settings import Setting
from superposition_cli.errors import InvalidInput
from superposition_cli.report import listing, show, write
from superposition_cli.running import launch, sweep, tables
from superposition_cli.running.engines.local import local
from superposition_cli.running.folder import Run
from superposition_cli.toy.metrics import METRICS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")]
PAGES += sorted(DOCS.rglob("*.md"))
TINY = f"""\
name: tiny
model: {{kind: abs, n_features: 4, n_hidden: 3}}
data: {{feature_probability: 0.5}}
train: {{steps: 7, batch_size: 8, eval_samples: 16, restarts: 3, snapshots: 5}}
sweep: {{parameters: {{seed: [1, 2]}}}}
metrics: [{", ".join(METRICS)}]
"""
BLOCK = re.compile(r"^<!-- (\w+) -->\n```(\w+)\n(.*?)^```$", re.M | re.S)


def text(path):
    return path.read_text(encoding="utf-8")


def section(path, title):
    """The text below a heading, up to the next one of its level."""
    level, rest = re.search(rf"^(#+) {re.escape(title)}$(.*)", text(path), re.M | re.S).groups()
    return re.split(rf"^#{{1,{len(level)}}} ", rest, flags=re.M)[0]


def table(path, title):
    """The rows of the first table below a heading, each a list of its cells."""
    lines = section(path, title).splitlines()
    rows = [line.strip("|").split("|") for line in lines if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def names(path, title):
    return [name for row in table(path, title) for name in re.findall(r"`([^`]+)`", row[0])]


def marked(mark):
    """The fenced blocks below `<!-- mark -->`, with the page they are on."""
    return [
        pytest.param(language, content, id=f"{path.name}-{number}")
        for path in PAGES
        for number, (found, language, content) in enumerate(BLOCK.findall(text(path)))
        if found == mark
    ]


def keys(content, documented):
    """The dotted names in JSON; what is documented without its parts is not looked into."""
    found = set()

    def look(value, name):
        deeper = any(one.startswith((f"{name}.", f"{name}[].")) for one in documented)
        if name and not isinstance(value, list):
            found.add(name)
        if isinstance(value, dict) and (deeper or not name):
            for key, part in value.items():
                look(part, f"{name}.{key}".strip("."))
        elif isinstance(value, list):
            found.add(name)
            for part in value if deeper else ():
                look(part, f"{name}[]")

    look(content, "")
    return {name for name in found if not name.endswith("[]")}


def start(folder, make=TINY):
    source = folder / "tiny.yaml"
    source.write_text(make)
    machine = launch.devices.this_machine()._replace(workers=1)
    path = folder / "run"
    run, plan = launch.open_run(config.load(source), source, path, machine, 100, False)
    return run, plan


def finish(run, plan, stopping=lambda: False):
    with run.locked():
        list(sweep.run_all(run, plan, local, 1, stopping))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run folder as it is when stopped, when complete, and with a damaged chunk replaced."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "mine.py").write_text(PLUGIN)
    with plugged(folder / "mine.py"):
        return _stages(folder)


PLUGIN = (
    "from superposition_cli.toy.metrics import METRICS as M\nMETRICS = {'my': M['coherence']}\n"
)


def _stages(folder):
    run, plan = start(folder)
    seen = {}
    with pytest.raises(sweep.Interrupted):
        finish(run, plan, lambda: True)
    seen["stopped"], seen["partial"] = files(run.path), run.load_partial(0)[1]
    finish(run, plan)
    seen["complete"] = files(run.path)
    with (run.path / "chunks/00000/metrics.safetensors").open("ab") as file:
        file.write(b"x")
    finish(run, plan)
    seen["repaired"] = files(run.path)
    write.report([str(run.path)] * 2, run.path.parent)
    later = {"coherence": run.read(0, "metrics")["coherence"]}
    run.shared().log("committed", chunk=0, diverged=0)
    run.add_metrics(0, later, lambda name, part: ("model",))
    return run, plan, {**seen, "reported": files(run.path)}


def files(path):
    """The files of a folder, with what varies in their names replaced as in the manual."""
    found = set()
    for file in path.rglob("*"):
        name = file.relative_to(path).as_posix()
        name = re.sub(r"^quarantine/\d{5}-[0-9a-f]{8}/.*", "quarantine/<chunk>-<hex>/", name)
        name = re.sub(r"^quarantine/\d{5}-[0-9a-f]{8}$", "quarantine/<chunk>-<hex>/", name)
        name = re.sub(r"^(chunks|partial)/\d{5}/", r"\1/<chunk>/", name)
        name = re.sub(r"^added/\d{5}\.", "added/<chunk>.", name)
        name = re.sub(r"state-\d{9}-\w+\.\d+", "state-<step>-<worker>", name)
        name = re.sub(r"^events/.*", "events/<worker>.jsonl", name)
        name = re.sub(r"^plugin-\d+-.+\.txt$", "plugin-<number>-<file>.txt", name)
        name = re.sub(r"^findings/\w+", "findings/<analysis>", name)
        name = re.sub(r"^report/.+\.(png|svg)$", r"report/<figure>.\1", name)
        if file.is_file() or name.startswith("quarantine/<"):
            found.add(name)
    return found


FOLDER, JSON = DOCS / "run-folder.md", DOCS / "json.md"


def test_cli_page_is_what_the_script_writes():
    assert text(DOCS / "cli.md") == runpy.run_path(str(DOCS / "make_cli.py"))["page"]()


def test_page_of_analyses_is_what_the_script_writes():
    assert text(DOCS / "analyses.md") == runpy.run_path(str(DOCS / "make_analyses.py"))["page"]()


@pytest.mark.parametrize(("language", "content"), marked("config"))
def test_complete_configurations_load(language, content):
    assert language == "yaml"
    config.loads(content, "page.yaml", known={"metrics": METRICS})


VECTORS = table(DOCS / "configuration.md", "Feature vectors")


@pytest.mark.parametrize(("form", "numbers"), [(row[0].strip("`"), row[2]) for row in VECTORS])
def test_every_form_of_a_vector_is_as_listed(form, numbers):
    model, data = "{n_features: 3, n_hidden: 2}", f"{{sparsity: 0.9, importance: {form}}}"
    setting = config.loads(f"name: x\nmodel: {model}\ndata: {data}\n", "page.yaml").base
    # Four digits are printed: off by half of the last, at most 5e-4 of the number.
    printed = [float(number) for number in numbers.split(", ")]
    assert setting.importance() == pytest.approx(printed, rel=5e-4)


def test_every_form_of_a_vector_is_listed():
    keys = {key for row in VECTORS for key in re.findall(r"(\w+):", row[0])}
    fields = {name: form.model_fields[name].annotation for name, form in vectors.FORMS.items()}
    inner = {key for kind in fields.values() for key in getattr(kind, "model_fields", ())}
    assert {*fields, *inner, "base", "last"} <= keys


def test_error_messages_are_as_printed():
    page = text(DOCS / "configuration.md")
    [(_, _, content)] = [block for block in BLOCK.findall(page) if block[0] == "refused"]
    printed = re.search(r"^gives\n\n```text\n(.*?)^```$", page, re.M | re.S).group(1)
    with pytest.raises(InvalidInput) as caught:
        config.loads(content, "bad.yaml", known={"metrics": METRICS})
    assert str(caught.value) == printed.rstrip("\n")


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """An empty folder in which the blocks of the README run one after another."""
    return tmp_path_factory.mktemp("readme")


@pytest.mark.parametrize(("language", "content"), marked("run"))
def test_marked_blocks_run(language, content, desk):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    env.pop("SP_RUNS_DIR", None)
    program = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[language]
    done = subprocess.run([*program, content], cwd=desk, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_file_of_a_run_is_listed(runs):
    _, _, seen = runs
    listed = {row[0].strip("`"): row[1] for row in table(FOLDER, "Files")}
    small = ("always", "with plug-ins", "up to 100,000 models", "up to 100,000 cells")
    always = {name for name, when in listed.items() if when in small}
    assert seen["complete"] == always
    assert seen["stopped"] | seen["reported"] == set(listed)


@pytest.mark.parametrize("part", ["weights", "history", "metrics"])
def test_every_array_of_a_chunk_is_listed(runs, part):
    run, plan, _ = runs
    arrays = run.read(0, part)
    listed = {row[0].strip("`"): row[1:3] for row in table(FOLDER, f"{part}.safetensors")}
    assert set(arrays) == set(listed)
    history = run.read(0, "history")
    size = {"K": plan.chunks[0].n_models, "n": 4, "m": 3}
    size |= {"H": len(history["loss_step"]), "S": len(history["snapshot_step"])}
    kinds = {"float": "float32", "int": "int32"}
    for name, (kind, shape) in listed.items():
        assert arrays[name].dtype == kinds.get(kind, kind), name
        assert arrays[name].shape == tuple(size[letter] for letter in shape.split()), name


def test_every_array_of_a_partial_state_is_listed(runs):
    _, _, seen = runs
    listed = names(FOLDER, "partial/…/state-….safetensors")
    owners = {name: [one for one in listed if name.startswith(one)] for name in seen["partial"]}
    assert {len(found) for found in owners.values()} == {1}
    assert {found[0] for found in owners.values()} == set(listed)


@pytest.mark.parametrize(
    ("page", "title", "file"),
    [
        (FOLDER, "run.json", "run.json"),
        (FOLDER, "env.json", "env.json"),
        (FOLDER, "status.json", "status.json"),
        (FOLDER, "done.json", "chunks/00000/done.json"),
    ],
)
def test_every_key_of_a_json_file_is_listed(runs, page, title, file):
    run, _, _ = runs
    listed = set(names(page, title))
    assert keys(json.loads(text(run.path / file)), listed) == listed


def test_events_are_listed(runs):
    run, _, _ = runs
    listed = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in events()}
    lines = [json.loads(line) for line in text(run.path / "events.jsonl").splitlines()]
    assert {line["event"] for line in lines} >= {"started", "stopped", "quarantined", "complete"}
    for line in lines:
        assert set(line) == {"time", "event", *listed[line["event"]]}


def events():
    return table(FOLDER, "events.jsonl")


@pytest.mark.parametrize("name", ["summary", "cells"])
def test_every_column_is_listed(runs, name):
    run, _, _ = runs
    with (run.path / f"{name}.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert list(tables.load(run.path, launch.load(run.path)[1], name)) == columns
    swept, metrics = {"seed"}, {name for name, one in METRICS.items() if not one.axes}
    assert set(columns) - swept - metrics == set(names(FOLDER, name.capitalize())) - swept
    assert metrics <= set(columns)
    assert set(columns) <= words()


def test_show_json_is_described(runs):
    run, _, _ = runs
    listed = set(names(JSON, "sp show RUN --json"))
    content = show.as_json(show.read(run.path, None))
    assert set(content) == {name for name in listed if "[]" not in name}
    assert all("structure" in row for row in content["cells"])
    assert Run.open(run.path).manifest == content["run"]


def test_list_json_is_described(runs):
    run, _, _ = runs
    listed = set(names(JSON, "sp list WHAT --json"))
    found = {
        f"{what}[].{key}"
        for what in listing.LISTS
        for row in listing.rows(what, run.path.parent)
        for key in row
    }
    assert found == listed


def test_doctor_json_is_described(tmp_path):
    from superposition_cli import checkup

    assert set(checkup.examine(tmp_path)) == set(names(JSON, "sp doctor --json"))


def test_bench_json_is_described():
    content = bench.report(["intro"], 0.01)
    parts = {f"workloads[].{key}" for key in content.pop("workloads")[0]}
    rows = {row[0].strip("`"): row[1] for row in table(JSON, "sp bench --json")}
    assert set(content) | parts == set(rows)
    assert re.findall(r"`(\w+)`", rows["workloads[].name"]) == list(bench.WORKLOADS)


def words():
    """The words that the glossary defines."""
    leads = re.findall(r"^- (\*\*.*?(?:: |:\n))", text(DOCS / "glossary.md"), re.M | re.S)
    return {word for lead in leads for word in re.findall(r"\*\*(.+?)\*\*", lead)}


def test_glossary_defines_every_metric_and_no_word_twice():
    assert set(METRICS) <= words()
    leads = re.findall(r"^- (\*\*.*?(?:: |:\n))", text(DOCS / "glossary.md"), re.M | re.S)
    every = [word for lead in leads for word in re.findall(r"\*\*(.+?)\*\*", lead)]
    assert sorted(every) == sorted(set(every))


def fields():
    """Every field of a configuration by its dotted name."""
    sections = {"model", "data", "train", "sweep"}
    found = {n: f for n, f in Experiment.model_fields.items() if n not in sections}
    inner = {n: Setting.model_fields[n].annotation for n in ("model", "data", "train")}
    for name, owner in {**inner, "sweep": axes.Sweep}.items():
        found |= {f"{name}.{key}": field for key, field in owner.model_fields.items()}
    return found


def test_every_field_is_listed_with_its_default():
    rows = {row[0].strip("`"): row for row in table(DOCS / "configuration.md", "Fields")}
    assert set(rows) == set(fields())
    for name, field in fields().items():
        written = rows[name][2]
        if field.default_factory:
            for optimizer in ("adamw", "adam", "sgd"):
                value = field.default_factory({"optimizer": optimizer})
                assert f"{value:g}" in re.findall(r"`([^`]+)`", written), name
        elif field.default is PydanticUndefined:
            assert written == "required", name
        elif field.default is None:
            assert written == "none", name
        else:
            default = field.default
            stated = strict(written.strip("`"))
            assert stated == (list(default) if isinstance(default, tuple) else default), name


def strict(written):
    return config.strict_yaml.value(written)


def test_every_field_says_whether_it_compiles():
    for row in table(DOCS / "configuration.md", "Fields"):
        name = row[0].strip("`")
        swept = name in axes.SWEPT
        kind = ("compiles" if axes.compiles(name) else "varies") if swept else "fixed"
        assert row[4] == kind, name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", text(path)):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.is_file(), target
        headings = re.findall(r"^#+ (.+)$", text(page), re.M) if anchor else []
        slugs = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}
        assert not anchor or anchor in slugs, target


def test_every_decision_is_in_the_list():
    pages = {path.name for path in (DOCS / "decisions").glob("0*.md")}
    assert set(re.findall(r"\]\((0[^)]+)\)", text(DOCS / "decisions" / "README.md"))) == pages


def test_readme_shows_the_introductory_run_there_is():
    experiment = config.load(ROOT / "configs" / "intro.yaml")
    assert f"\nintro-{config.hash8(experiment)}: complete" in text(ROOT / "README.md")
