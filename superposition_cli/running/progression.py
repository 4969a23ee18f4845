"""How far a run is, read off its folder alone: nobody has to be asked."""

import time
from pathlib import Path
from typing import Any

from superposition_cli.running.folder import Run

SCHEMA_VERSION = 1


def progress_of(path: Path) -> dict[str, Any]:
    """Return how many chunks are committed, and which are in progress, by whom and how far.

    `in_progress` has one entry for each state that is kept: chunk, step, worker and its age in
    seconds. A worker keeps its state every half minute, so a short chunk never shows.
    """
    run = Run.open(path)
    chunks = run.manifest["chunks"]
    committed = sum(run.is_committed(number) for number in range(chunks))
    return {
        "schema_version": SCHEMA_VERSION,
        "run": path.name,
        "state": run.status()["state"],
        "chunks": chunks,
        "committed": committed,
        "models": run.manifest["models"],
        "in_progress": [
            {
                "chunk": state.chunk,
                "step": state.step,
                "worker": state.worker or "unknown",
                "seconds": round(time.time() - state.file.stat().st_mtime, 1),
            }
            for state in run.states()
        ],
    }
