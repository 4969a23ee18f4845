"""Whether this machine is ready: versions, devices, disk, and a small computation."""

import secrets
from pathlib import Path

import jax
import numpy as np

from superposition_cli.errors import SpError
from superposition_cli.running import devices, environment, fsio
from superposition_cli.toy import rng

SCHEMA_VERSION = 1


def examine(runs_dir: Path) -> dict[str, object]:
    """Return versions, devices and free disk; `faults` lists what is wrong, if anything."""
    faults = []
    machine = devices.this_machine()
    try:
        probe = fsio.make_folder(runs_dir) / f".probe-{secrets.token_hex(4)}"
        fsio.write_bytes(probe, b"probe")
        fsio.remove(probe)
    except SpError as problem:
        faults.append(str(problem))
    if not _random_numbers_agree():
        faults.append("the unrolled Threefry does not agree with JAX's own on this device")
    about = environment.environment()
    return {
        "schema_version": SCHEMA_VERSION,
        "python": about["python"],
        "packages": about["packages"],
        "system": about["system"],
        "processor": about["processor"],
        "machine": machine._asdict(),
        "devices": [str(device) for device in jax.devices()],
        "runs_dir": str(runs_dir),
        "free_bytes": fsio.free_bytes(runs_dir.absolute()),
        "faults": faults,
    }


def _random_numbers_agree() -> bool:
    ours = jax.random.bits(rng.key(7), (1000,), np.uint32)
    theirs = jax.random.bits(jax.random.key(7, impl="threefry2x32"), (1000,), np.uint32)
    return bool((ours == theirs).all())
