"""Where and when a run is made: versions, machine, git state; no secrets."""

import contextlib
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from superposition_cli.version import __version__

SCHEMA_VERSION = 1
PACKAGES = ("superposition-cli", "jax", "jaxlib", "optax", "numpy", "safetensors")


def now() -> str:
    """Return the time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def environment() -> dict[str, Any]:
    """Describe where a run was made: versions, machine, git state; no secrets."""
    return {
        "schema_version": SCHEMA_VERSION,
        "time": now(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "git": _git(),
    }


def processor() -> str:
    """Return the processor's name, as the system tells it."""
    with contextlib.suppress(OSError, IndexError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    return platform.processor()


def _version(package: str) -> str | None:
    if package == "superposition-cli":
        return __version__
    with contextlib.suppress(ModuleNotFoundError):
        return version(package)
    return None


def _git() -> dict[str, object] | None:
    """The commit of the package's own source and whether it has changes, if it is in git."""
    here = Path(__file__).parent

    def ask(*words: str) -> str:
        command = ["git", "-C", str(here), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout

    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if ask("ls-files", "--", Path(__file__).name).strip():
            return {
                "sha": ask("rev-parse", "HEAD").strip(),
                "dirty": bool(ask("status", "--porcelain").strip()),
            }
    return None
