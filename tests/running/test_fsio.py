"""Files appear whole or not at all, and a refusal of the disk is one sentence."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from superposition_cli.errors import FolderRefused, OutOfResources
from superposition_cli.running import fsio

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(*_, **__):
    raise FULL


def written_text(path):
    with fsio.text_file(path) as file:
        file.write("new")


WRITERS = {
    "bytes": lambda path: fsio.write_bytes(path, b"new"),
    "text": lambda path: fsio.write_text(path, "new"),
    "json": lambda path: fsio.write_json(path, {"new": 1}),
    "arrays": lambda path: fsio.write_arrays(path, {"new": np.ones(3)}, {"a": "b"}),
    "table": written_text,
}


@pytest.mark.parametrize("target", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.open"])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_failure_in_the_middle_leaves_the_old_content(tmp_path, monkeypatch, kind, target):
    path = tmp_path / "file"
    path.write_text("old")
    monkeypatch.setattr(target, fail)
    with pytest.raises(OutOfResources) as refused:
        WRITERS[kind](path)
    monkeypatch.undo()
    assert str(refused.value) == f"cannot write {path}: No space left on device"
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_file_that_was_not_there_is_not_begun(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutOfResources):
        WRITERS[kind](tmp_path / "file")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", WRITERS)
def test_writing_replaces_and_leaves_nothing_beside(tmp_path, kind):
    path = tmp_path / "file"
    path.write_text("old")
    WRITERS[kind](path)
    assert b"new" in path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_content_is_flushed_before_it_is_named_and_the_name_after(tmp_path, monkeypatch):
    order = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle):
        order.append("flush folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "flush file")
        real_fsync(handle)

    def replace(self, target):
        order.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr("os.fsync", fsync)
    monkeypatch.setattr("pathlib.Path.replace", replace)
    fsio.write_bytes(tmp_path / "file", b"x")
    assert order == ["flush file", "rename", "flush folder"]


def test_a_text_file_whose_writer_fails_is_not_put_in_place(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), fsio.text_file(path) as file:
        file.write(f"half{1 / 0}")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.csv"]


def test_line_ends_are_written_as_given(tmp_path):
    with fsio.text_file(tmp_path / "t") as file:
        file.write("a\nb\r\n")
    assert (tmp_path / "t").read_bytes() == b"a\nb\r\n"


@pytest.mark.parametrize(
    "act",
    [
        lambda path: fsio.write_text(path / "below", "x"),
        lambda path: fsio.append_line(path / "below", "x"),
        lambda path: fsio.make_folder(path / "below"),
        lambda path: fsio.put_folder(path / "a", path / "b"),
    ],
)
def test_a_file_in_place_of_a_folder_is_named(tmp_path, act):
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    with pytest.raises(OutOfResources, match=r"cannot write .*blocked.*: Not a directory"):
        act(blocked)
    assert OutOfResources.exit_code == 5


def test_plain_turns_numpy_and_tuples_into_json():
    given = {
        1: np.float32(0.5),
        "a": (np.int64(3), np.bool_(True), None),
        "b": np.array([[1.0, np.nan], [np.inf, -np.inf]]),
        "c": {"d": float("nan"), "e": np.float64("inf"), "f": "nan"},
        "g": np.array(2),
    }
    expected = {
        "1": 0.5,
        "a": [3, True, None],
        "b": [[1.0, None], [None, None]],
        "c": {"d": None, "e": None, "f": "nan"},
        "g": 2,
    }
    assert fsio.plain(given) == expected
    assert fsio.plain(given)["a"][1] is True
    assert json.loads(json.dumps(fsio.plain(given), allow_nan=False)) == expected


def test_json_has_null_for_what_is_not_finite(tmp_path):
    fsio.write_json(tmp_path / "j", {"loss": float("nan"), "more": [np.inf, 1]})
    text = (tmp_path / "j").read_text()
    assert json.loads(text, parse_constant=fail) == {"loss": None, "more": [None, 1]}
    assert text.endswith("}\n")
    assert fsio.read_json(tmp_path / "j") == {"loss": None, "more": [None, 1]}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"\x00"])
def test_torn_json_is_refused_naming_the_file(tmp_path, content):
    (tmp_path / "torn.json").write_bytes(content)
    with pytest.raises(FolderRefused, match=r"torn\.json"):
        fsio.read_json(tmp_path / "torn.json")
    assert FolderRefused.exit_code == 4


ARRAYS = {
    "scalar": np.array(3.5, np.float32),
    "count": np.array(7, np.int32),
    "flags": np.array([True, False, True]),
    "big": np.array([2**62, -(2**62)]),
    "double": np.array([[0.1, np.nan], [np.inf, -0.0]]),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "strided": np.arange(10)[::3],
    "empty": np.zeros((0, 4, 2), np.float32),
    "words": np.array([2**32 - 1], np.uint32),
}


def test_arrays_come_back_as_they_were(tmp_path):
    fsio.write_arrays(tmp_path / "a", ARRAYS, {"step": "3"})
    back = fsio.read_arrays(tmp_path / "a")
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].dtype == array.dtype, name
        assert back[name].shape == array.shape, name
        assert back[name].tobytes() == array.tobytes(), name


def test_equal_arrays_are_equal_bytes_and_keep_the_text_about_them(tmp_path):
    about = {f"key{i}": f"vä\nlue {i}" for i in range(20)}
    contents = set()
    for attempt in range(4):
        fsio.write_arrays(tmp_path / str(attempt), ARRAYS, about)
        contents.add((tmp_path / str(attempt)).read_bytes())
    assert len(contents) == 1
    with safe_open(tmp_path / "0", "numpy") as file:
        assert file.metadata() == about
        assert (file.get_tensor("transposed") == ARRAYS["transposed"]).all()
    assert int.from_bytes(contents.pop()[:8], "little") % 8 == 0  # tensors stay aligned


def test_a_truncated_or_foreign_tensor_file_is_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    fsio.write_arrays(path, ARRAYS, {"a": "b"})
    whole = path.read_bytes()
    for cut in (b"", whole[:4], whole[:40], whole[: len(whole) // 2], whole[:-1], b"x" * 64):
        path.write_bytes(cut)
        with pytest.raises(FolderRefused, match=r"t\.safetensors"):
            fsio.read_arrays(path)
    with pytest.raises(FolderRefused, match="absent"):
        fsio.read_arrays(tmp_path / "absent")


def test_a_finished_folder_moves_whole(tmp_path):
    source, target = tmp_path / "made" / "here", tmp_path / "there"
    fsio.make_folder(source)
    (source / "file").write_text("x")
    fsio.put_folder(source, target)
    assert (target / "file").read_text() == "x"
    assert not source.exists()


def test_a_folder_does_not_replace_one_with_content(tmp_path):
    for name in ("new", "old"):
        (fsio.make_folder(tmp_path / name) / "file").write_text(name)
    with pytest.raises(OutOfResources, match="old"):
        fsio.put_folder(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old" / "file").read_text() == "old"


def test_remove_takes_files_folders_and_nothing_behind_a_link(tmp_path):
    kept = fsio.make_folder(tmp_path / "kept")
    (kept / "file").write_text("x")
    (tmp_path / "link").symlink_to(kept)
    folder = fsio.make_folder(tmp_path / "folder" / "deep").parent
    for path in (tmp_path / "link", folder, tmp_path / "absent"):
        fsio.remove(path)
        assert not path.exists()
    assert (kept / "file").read_text() == "x"


def test_append_adds_whole_lines(tmp_path):
    for line in ("a", "ü"):
        fsio.append_line(tmp_path / "log", line)
    assert (tmp_path / "log").read_bytes() == "a\nü\n".encode()


def test_checksums_are_those_of_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert fsio.sha256(tmp_path / "f") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_free_space_is_that_of_the_nearest_folder_there_is(tmp_path):
    assert fsio.free_bytes(tmp_path / "not" / "there") == pytest.approx(
        fsio.free_bytes(tmp_path), rel=0.05
    )
