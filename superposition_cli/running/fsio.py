"""Durable files: everything the project writes goes through here.

A file appears whole or not at all: it is written beside its place, flushed to the disk and
renamed into it, and the folder's entry is flushed too. A full disk, a read-only folder or a
path that cannot be made ends in one sentence naming the path.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from superposition_cli.errors import FolderRefused, OutOfResources

Arrays = dict[str, np.ndarray]


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn an operating system's refusal to write `path` into one sentence."""
    try:
        yield
    except OSError as problem:
        where = problem.filename or path
        reason = problem.strerror or str(problem)
        raise OutOfResources(f"cannot write {where}: {reason}") from problem


@contextlib.contextmanager
def _replacing(path: Path, mode: str, **how: Any) -> Iterator[Any]:
    """Yield a file beside `path` that takes its place, durably, when the block ends well."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage(path):
        try:
            with beside.open(mode, **how) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole and durable."""
    with _replacing(path, "wb") as file:
        file.write(content)


def write_text(path: Path, text: str) -> None:
    """Put UTF-8 text at `path`, whole and durable."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Put JSON at `path`; NaN and infinities become null, as JSON has neither."""
    write_text(path, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def plain(content: Any) -> object:
    """Return `content` as JSON can say it: NumPy to Python, non-finite numbers to None."""
    if isinstance(content, Mapping):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.ndarray | np.generic):
        return plain(content.tolist())
    if isinstance(content, float) and not np.isfinite(content):
        return None
    return content


def read_json(path: Path) -> Any:
    """Return the JSON at `path`, or refuse the folder it is in."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise FolderRefused(f"{path}: not a readable JSON file ({problem})") from problem


def write_arrays(path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> None:
    """Put named arrays at `path` in the safetensors format, with text about them."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, _in_order(save_tensors(contiguous, dict(metadata))))


def _in_order(content: bytes) -> bytes:
    """Put the texts of a safetensors file in order, so that equal content is equal bytes.

    The library keeps them in a hash map that is seeded anew every time. The header is JSON,
    padded to a multiple of eight bytes, after its length in the first eight.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    ordered = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(ordered, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


def read_arrays(path: Path) -> Arrays:
    """Return the named arrays at `path`, or refuse the folder it is in."""
    try:
        return load_tensors(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as problem:
        raise FolderRefused(f"{path}: not a readable safetensors file ({problem})") from problem


def append_line(path: Path, line: str) -> None:
    """Add one line to a log; a torn last line is ended first, for a reader to skip."""
    with storage(path), path.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else f"\n{line}"
        file.write(f"{line}\n".encode())


def text_file(path: Path) -> contextlib.AbstractContextManager[Any]:
    """Open a text file that replaces `path` when the block ends well: for long tables."""
    return _replacing(path, "w", encoding="utf-8", newline="")


def binary_file(path: Path) -> contextlib.AbstractContextManager[Any]:
    """Open a file of bytes that replaces `path` when the block ends well: for long tables."""
    return _replacing(path, "wb")


def make_folder(path: Path) -> Path:
    """Make a folder and its parents and return it."""
    with storage(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def put_folder(source: Path, target: Path) -> None:
    """Rename a finished folder into its place and flush both parents."""
    with storage(target):
        source.rename(target)
        sync_folder(target.parent)
        if source.parent != target.parent:
            sync_folder(source.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder with all that is in it; absent is fine."""
    with storage(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, where the system can."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def free_bytes(path: Path) -> int:
    """Return the free space where `path` is or would be."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free
