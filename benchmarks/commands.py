"""Whole commands, from the shell's point of view: seconds and peak memory of each.

    python benchmarks/commands.py --runs 3 --json benchmarks/results/mine.json

Each command runs as a fresh process with an empty runs folder: imports, compilation,
training, files and tables are all in its time.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from report import describe_machine

SCHEMA = 1
SP = "from superposition_cli.cli import main; main()"
COMMANDS = {
    "help": ["--help"],
    "intro-one-restart": ["sweep", "intro", "--set", "train.restarts=1", "-q"],
    "intro": ["sweep", "intro", "-q"],
    "phase-fine": ["sweep", "phase_2_1_fine", "-q"],
    "million-models": [
        "sweep", "phase_2_1_fine", "-q", "--set", "train.restarts=100", "--set", "train.steps=20",
    ],
}  # fmt: skip


class Cost(NamedTuple):
    """What one run of a command took."""

    seconds: float
    processor_seconds: float
    peak_mib: float


def run(words: list[str]) -> Cost:
    """Run `sp` once in a process of its own, its output thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "SP_RUNS_DIR": folder}
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-c", SP, *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"sp {' '.join(words)} ended with {process.returncode}")
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def table(costs: dict[str, list[Cost]]) -> str:
    """Return the medians as text, best wall time beside them."""
    lines = [f"{'command':20s} {'wall s (best)':>16s} {'processor s':>12s} {'peak MiB':>9s}"]
    for name, found in costs.items():
        wall = [one.seconds for one in found]
        work = median(one.processor_seconds for one in found)
        peak = max(one.peak_mib for one in found)
        shown = f"{median(wall):.2f} ({min(wall):.2f})"
        lines.append(f"{name:20s} {shown:>16s} {work:12.2f} {peak:9.0f}")
    return "\n".join(lines)


def main() -> None:
    """Time the chosen commands and print a table; `--json` keeps every run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--commands", default=",".join(list(COMMANDS)[:-1]), help="names, or all")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    names = list(COMMANDS) if asked.commands == "all" else asked.commands.split(",")
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    for _ in range(asked.runs):
        for name in names:
            costs[name].append(run(COMMANDS[name]))
    print(table(costs))
    if asked.json:
        rows = {name: [one._asdict() for one in found] for name, found in costs.items()}
        machine = describe_machine(os.cpu_count() or 1, pinned=False)
        content = {"schema_version": SCHEMA, "machine": machine, "commands": rows}
        asked.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
