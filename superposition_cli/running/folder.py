"""The run folder: create, open, commit a chunk, keep a chunk in progress, verify.

The layout is specified in docs/run-folder.md. A chunk is acknowledged when its folder has
been renamed into place; `done.json` inside it carries the SHA-256 of its files.
"""

import contextlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from superposition_cli.errors import FolderRefused, InvalidInput, OutOfResources
from superposition_cli.running import fsio
from superposition_cli.running.environment import environment, now
from superposition_cli.running.fsio import Arrays

SCHEMA_VERSION = 1
Axes = tuple[str, ...]  # names of an array's axes
HOST = re.sub(r"[^A-Za-z0-9_]", "_", socket.gethostname())[:60]
WORKER = f"{HOST}.{os.getpid()}"  # of this process, in the names of files it is writing
CREATE_SECONDS = 60.0
ABANDONED_SECONDS = 86_400.0
PARTS = ("weights", "history", "metrics")


class State(NamedTuple):
    """What is kept of a chunk in progress: before which step, by whom ("" in version 0.1.0)."""

    chunk: int
    step: int
    worker: str
    file: Path


class Run:
    """One run folder, opened."""

    def __init__(self, path: Path, manifest: dict[str, Any], is_shared: bool = False) -> None:
        self.path = path
        self.manifest = manifest
        self.is_shared = is_shared  # other processes are at work in it, without its lock

    def shared(self) -> "Run":
        """Return the same folder, as one of several processes at work in it."""
        return Run(self.path, self.manifest, is_shared=True)

    @classmethod
    def create(cls, path: Path, manifest: Mapping[str, Any], files: Mapping[str, str]) -> "Run":
        """Make the folder; `run.json` comes last and says that it is whole."""
        fsio.make_folder(path / "chunks")
        run = cls(path, {"schema_version": SCHEMA_VERSION, **manifest})
        run.rewrite(files)
        fsio.write_json(path / "env.json", environment())
        fsio.write_json(path / "run.json", run.manifest)
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing folder. Raises `FolderRefused` when it is not a sound run."""
        if path.is_symlink():
            raise FolderRefused(f"{path}: a run folder must not be a symbolic link")
        if not (path / "run.json").is_file():
            raise FolderRefused(f"{path}: no run here (run.json is missing)")
        manifest = fsio.read_json(path / "run.json")
        if not isinstance(manifest, dict) or manifest.get("schema_version") != SCHEMA_VERSION:
            raise FolderRefused(f"{path}: run.json is not of layout version {SCHEMA_VERSION}")
        return cls(path, manifest)

    def rewrite(self, files: Mapping[str, str]) -> None:
        """Replace texts of the folder, each whole."""
        for name, text in files.items():
            fsio.write_text(self.path / name, text)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process. Raises `FolderRefused` when another one does."""
        owner = self.path / ".lock-owner"
        with fsio.storage(self.path / ".lock"):
            lock = FileLock(self.path / ".lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                holder = owner.read_text() if owner.exists() else "another process"
                raise FolderRefused(f"{self.path}: in use by {holder.strip()}") from None
        try:
            fsio.write_text(owner, f"pid {os.getpid()} on {socket.gethostname()}\n")
            yield
            fsio.remove(owner)
        finally:
            lock.release()

    def chunk_folder(self, index: int) -> Path:
        """Return where chunk `index` is, or will be."""
        folder = self.path / "chunks" / f"{index:05d}"
        if folder.is_symlink():
            raise FolderRefused(f"{folder}: a chunk must not be a symbolic link")
        return folder

    def is_committed(self, index: int) -> bool:
        """Say whether a chunk has been acknowledged."""
        return (self.chunk_folder(index) / "done.json").is_file()

    def commit(
        self,
        index: int,
        parts: Mapping[str, Arrays],
        axes: Callable[[str, str], Axes],
        done: Mapping[str, Any],
    ) -> None:
        """Acknowledge a chunk: all its files, or nothing.

        Args:
            index: the chunk's number.
            parts: the arrays of each of its files, `PARTS`.
            axes: (array, part) -> the names of the array's axes, kept as text beside it.
            done: what `done.json` says beside the checksums.

        Where another process was first, whose arrays are the same, these are dropped.

        Raises:
            OutOfResources: the disk has no room or cannot be written; nothing is acknowledged.
        """
        target = self.chunk_folder(index)
        beside = target.with_name(f".{target.name}-{WORKER}-{secrets.token_hex(4)}.tmp")
        fsio.make_folder(beside)
        sums = {}
        for part, arrays in parts.items():
            file = beside / f"{part}.safetensors"
            names = {name: " ".join(axes(name, part)) for name in arrays}
            fsio.write_arrays(file, arrays, {"schema_version": str(SCHEMA_VERSION), **names})
            sums[file.name] = fsio.sha256(file)
        summary = {"schema_version": SCHEMA_VERSION, **done, "sha256": sums}
        fsio.write_json(beside / "done.json", summary)
        self._put(beside, target, index)
        self.drop_partial(index)

    def _put(self, beside: Path, target: Path, index: int) -> None:
        """Rename a chunk into its place, unless a sound one is there already."""
        try:
            fsio.put_folder(beside, target)
        except OutOfResources:
            if not target.is_dir() or self.fault(index) is not None:
                raise
            fsio.remove(beside)

    def done(self, index: int) -> dict[str, Any]:
        """Return what was acknowledged with a chunk: counts and checksums."""
        return fsio.read_json(self.chunk_folder(index) / "done.json")

    def read(self, index: int, part: str) -> Arrays:
        """Return the arrays of one part (weights, history, metrics) of a chunk.

        With the metrics come those that were added since.
        """
        arrays = fsio.read_arrays(self.chunk_folder(index) / f"{part}.safetensors")
        added = self._added(index)
        return arrays | fsio.read_arrays(added) if part == "metrics" and added.is_file() else arrays

    def add_metrics(self, index: int, arrays: Arrays, axes: Callable[[str, str], Axes]) -> None:
        """Keep metrics of a committed chunk beside it, with those that were added before."""
        file = self._added(index)
        arrays = (fsio.read_arrays(file) if file.is_file() else {}) | arrays
        names = {name: " ".join(axes(name, "metrics")) for name in arrays}
        fsio.make_folder(file.parent)
        fsio.write_arrays(file, arrays, {"schema_version": str(SCHEMA_VERSION), **names})

    def _added(self, index: int) -> Path:
        return self.path / "added" / f"{index:05d}.safetensors"

    def fault(self, index: int) -> str | None:
        """Say what is wrong with an acknowledged chunk, or None when it is sound."""
        folder = self.chunk_folder(index)
        try:
            done = self.done(index)
            sums, files = done["sha256"], sorted(f"{part}.safetensors" for part in PARTS)
            if sorted(sums) != files or not isinstance(done["diverged"], int):
                return "done.json says something else"
            bad = [name for name in files if fsio.sha256(folder / name) != sums[name]]
        except (FolderRefused, KeyError, TypeError, OSError) as problem:
            return f"unreadable ({problem})"
        return f"checksum of {', '.join(bad)} does not match" if bad else None

    def quarantine(self, index: int) -> Path:
        """Move a damaged chunk out of the way; it will be computed again."""
        folder = self.chunk_folder(index)
        target = (
            fsio.make_folder(self.path / "quarantine") / f"{folder.name}-{secrets.token_hex(4)}"
        )
        fsio.put_folder(folder, target)
        return target

    def save_partial(self, index: int, step: int, arrays: Arrays) -> None:
        """Keep the state of a chunk in progress, replacing an older one of this process."""
        folder = fsio.make_folder(self.path / "partial" / f"{index:05d}")
        older = list(folder.glob(f"state-*-{WORKER}.safetensors"))
        newest = folder / f"state-{step:09d}-{WORKER}.safetensors"
        try:
            fsio.write_arrays(newest, arrays, {"step": str(step)})
        except OutOfResources:
            if not self.is_committed(index):  # else another process has, and dropped the folder
                raise
        for file in older:
            if file != newest:
                fsio.remove(file)

    def states(self, chunk: str = "*") -> Iterator[State]:
        """Yield what is kept of chunks in progress, of all or of one by its folder's name."""
        for file in sorted((self.path / "partial").glob(f"{chunk}/state-*.safetensors")):
            _, step, *worker = file.stem.split("-", 2)
            if step.isdecimal():
                yield State(int(file.parent.name), int(step), "".join(worker), file)

    def load_partial(self, index: int) -> tuple[int, Arrays] | None:
        """Return the newest readable state of a chunk in progress: its step and arrays."""
        for state in reversed(list(self.states(f"{index:05d}"))):
            with contextlib.suppress(FolderRefused):
                return state.step, fsio.read_arrays(state.file)
        return None

    def drop_partial(self, index: int) -> None:
        """Forget the state of a chunk in progress."""
        fsio.remove(self.path / "partial" / f"{index:05d}")

    def clean_up(self) -> None:
        """Remove what an interrupted commit left behind and empty partial folders.

        What a process at work is writing stays, here or on another host.
        """
        for leftover in (self.path / "chunks").glob(".*.tmp"):
            if not _is_being_written(leftover):
                fsio.remove(leftover)
        partial = self.path / "partial"
        if partial.is_dir() and not any(partial.iterdir()):
            fsio.remove(partial)

    def set_status(self, state: str, **facts: object) -> None:
        """Replace status.json."""
        content = {"schema_version": SCHEMA_VERSION, "state": state, "time": now(), **facts}
        fsio.write_json(self.path / "status.json", content)

    def status(self) -> dict[str, Any]:
        """Return status.json, or what can be said without it."""
        with contextlib.suppress(FolderRefused):
            status = fsio.read_json(self.path / "status.json")
            if isinstance(status, dict):
                return status
        return {"schema_version": SCHEMA_VERSION, "state": "unknown"}

    def log(self, event: str, **facts: Any) -> None:
        """Add a line to events.jsonl and to log.txt; a worker among others has its own file."""
        line = json.dumps(fsio.plain({"time": now(), "event": event, **facts}), allow_nan=False)
        if self.is_shared:
            folder = fsio.make_folder(self.path / "events")
            fsio.append_line(folder / f"{WORKER}.jsonl", line)
            return
        fsio.append_line(self.path / "events.jsonl", line)
        text = " ".join(f"{key}={value}" for key, value in facts.items())
        fsio.append_line(self.path / "log.txt", f"{now()} {event} {text}".rstrip())


@contextlib.contextmanager
def creating(path: Path) -> Iterator[None]:
    """Hold a folder that is to become a run, waiting for others that make the same."""
    fsio.make_folder(path)
    with fsio.storage(path / ".lock"):
        try:
            lock = FileLock(path / ".lock", timeout=CREATE_SECONDS)
            lock.acquire()
        except Timeout:
            raise FolderRefused(
                f"{path}: another process has been making it for too long"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _is_being_written(leftover: Path) -> bool:
    """Whether a temporary folder is of a living process, as far as can be known from here.

    Its name tells host and pid: .<chunk>-<host>.<pid>-<token>.tmp. One of another host counts as
    such for a day; version 0.1.0 wrote no host, and had one process alone in a folder.
    """
    found = re.fullmatch(r"\.\d+-(.+)\.(\d+)-[0-9a-f]+\.tmp", leftover.name)
    if found is None:
        return False
    host, pid = found[1], int(found[2])
    if host != HOST:
        with contextlib.suppress(OSError):
            return time.time() - leftover.stat().st_mtime < ABANDONED_SECONDS
        return False
    return pid != os.getpid() and _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def find(runs_dir: Path) -> Iterator[Path]:
    """Yield the run folders under `runs_dir`, oldest name first."""
    if runs_dir.is_dir():
        for path in sorted(runs_dir.iterdir()):
            if (path / "run.json").is_file() and not path.is_symlink():
                yield path


def locate(name: str, runs_dir: Path) -> Path:
    """Return the run folder a person means: a path, a name under `runs_dir`, its beginning."""
    if (found := sought(name, runs_dir)) is not None:
        return found
    raise InvalidInput(f"{name}: no such run here or under {runs_dir}; `sp list` names the runs")


def sought(name: str, runs_dir: Path) -> Path | None:
    """Return the run folder that a name means as in `locate`; None where there is none.

    Raises `InvalidInput` where it means several.
    """
    for path in (Path(name), runs_dir / name):
        if (path / "run.json").is_file():
            return path
    there = list(find(runs_dir))
    named = [path for path in there if re.fullmatch(re.escape(name) + "-[0-9a-f]{8}", path.name)]
    found = named or [path for path in there if path.name.startswith(name)]
    if len(found) > 1:
        raise InvalidInput(f"{name}: which one? {', '.join(path.name for path in found)}")
    return found[0] if found else None
