"""Hashes: what they cover, and what leaves them alone."""

import pytest
from config_texts import BASE, data, load, swept

from superposition_cli import config
from superposition_cli.config import shipped


def test_hash_ignores_what_does_not_train():
    for override in ("name=y", "metrics=[a]", "analyses=[b]", "cost=slow"):
        assert config.hash8(load(BASE, override)) == config.hash8(load())
    assert config.hash8(load(BASE + "expect: [{id: a, finding: b, min: 1}]")) == config.hash8(
        load()
    )


def test_hash_ignores_defaults_written_out_and_number_spelling():
    written = load(BASE, "train.steps=10000", "train.weight_decay=0.01", "data.importance=1")
    assert config.hash8(written) == config.hash8(load())
    assert config.hash8(load(BASE, "train.init_scale=1")) == config.hash8(load())
    assert config.hash8(load(BASE, "data.high=2")) == config.hash8(load(BASE, "data.high=2.0"))


def test_new_settings_leave_old_hashes_and_keys_alone():
    # As first published; the folder's name is in the README.
    intro = config.load(shipped.find("intro"))
    assert config.hash8(intro) == "75921ba4"
    assert config.setting_words(intro.base) == (2312373490, 2325727685)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "model.n_hidden=1",
        "model.kind=linear",
        "data.feature_probability=0.2",
        "data.importance={geometric: 0.9}",
        "train.steps=9",
        "train.restarts=2",
        "train.weight_decay=0",
        "train.init_scale=0.1",
        "sweep={parameters: {seed: [0, 1]}}",
    ],
)
def test_hash_covers_what_trains(override):
    assert config.hash8(load(BASE, override)) != config.hash8(load())


def test_hash_covers_the_order_of_the_axes():
    one, other = "seed: [0, 1]", "train.steps: [5, 6]"
    first, second = load(swept(f"{one}, {other}")), load(swept(f"{other}, {one}"))
    assert config.hash8(first) != config.hash8(second)
    assert config.hash8(first) != config.hash8(
        load(swept(f"{one}, {other}", "[[seed, train.steps]]"))
    )


@pytest.mark.parametrize(
    ("sparsity", "probability"),
    [
        ("0.9", "0.1"),
        ("[0.9, 0.5, 0]", "[0.1, 0.5, 1]"),
        ("{base: 0.9, 0: 0.7}", "{base: 0.1, 0: 0.3}"),
    ],
)
def test_hash_of_sparsity_is_that_of_the_probability(sparsity, probability):
    sparse, dense = (
        load(data(f"{{sparsity: {sparsity}}}")),
        load(data(f"{{feature_probability: {probability}}}")),
    )
    assert config.hash8(sparse) == config.hash8(dense)
    assert config.setting_words(sparse.base) == config.setting_words(dense.base)


def test_setting_words():
    words = config.setting_words(load().base)
    assert all(0 <= word < 2**32 for word in words)
    same = ("seed=3", "train.steps=7", "train.restarts=7", "train.select=mean", "train.snapshots=3")
    for override in (
        *same,
        "data.importance=[1, 1, 1]",
        "data.feature_probability=[0.1, 0.1, 0.1]",
    ):
        assert config.setting_words(load(BASE, override).base) == words
    for override in (
        "train.batch_size=7",
        "data.importance.0=2",
        "model.n_hidden=3",
        "data.low=-1",
    ):
        assert config.setting_words(load(BASE, override).base) != words
    written, resolved = "{geometric: 0.5}", "[1, 0.5, 0.25]"
    assert config.setting_words(load(BASE, f"data.importance={written}").base) == (
        config.setting_words(load(BASE, f"data.importance={resolved}").base)
    )
