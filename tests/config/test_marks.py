"""Marks on settings: every setting has one, and programs are made of exactly what they name."""

from dataclasses import fields

from superposition_cli.config import axes, marks
from superposition_cli.config.marks import Part
from superposition_cli.config.settings import Setting
from superposition_cli.toy.spec import Knobs, Spec

SETTING = Setting.model_validate(
    {
        "model": {"kind": "abs", "n_features": 3, "n_hidden": 2},
        "data": {
            "kind": "correlated",
            "sets": [[0, 2], [1]],
            "sparsity": [0.75, 0.5, 0.75],
            "low": -1.0,
        },
        "train": {"hidden_l1": 0.5},
    }
)


def test_every_setting_is_marked():
    assert [place for place, own in marks.fields(Setting) if not own] == []


def test_programs_are_made_of_what_is_marked():
    assert set(marks.readers(Setting, Part.SPEC)) == {field.name for field in fields(Spec)}
    assert set(marks.readers(Setting, Part.KNOBS)) == set(Knobs._fields)


def test_a_setting_is_read_under_its_name_or_another_as_it_is_or_in_another_form():
    spec, knobs = (marks.readers(Setting, part) for part in (Part.SPEC, Part.KNOBS))
    assert (spec["model"](SETTING), spec["n_hidden"](SETTING)) == ("abs", 2)
    assert spec["sets"](SETTING) == ((0, 2), (1,))
    assert (spec["zero_based"](SETTING), knobs["low"](SETTING)) == (False, -1.0)
    flat = SETTING.model_copy(update={"data": SETTING.data.model_copy(update={"low": 1.0})})
    assert (spec["constant"](SETTING), spec["constant"](flat)) == (False, True)
    assert (spec["sparse_hidden"](SETTING), spec["attacked"](SETTING)) == (True, False)
    # sparsity .75, .5, .75 is a probability of .25, .5, .25
    assert knobs["feature_probability"](SETTING) == (0.25, 0.5, 0.25)
    assert knobs["init_instances"](SETTING) == 1


def test_what_a_second_setting_decides_is_known_by_it():
    assert marks.flags(Setting) == {"constant": "data.high"}


def test_what_varies_in_value_and_compiles_in_form_compiles():
    assert {name for name in axes.SWEPT if axes.compiles(name)} >= {"data.low", "train.hidden_l1"}
    assert not any(map(axes.compiles, ("seed", "train.draws", "data.sparsity.0", "data.high")))
    assert axes.NOT_SWEPT == ["train.restarts", "train.select", "train.snapshots"]
