"""YAML text -> Experiment: what a person writes, checked, defaulted, hashed. Knows no JAX."""

from superposition_cli.config.axes import Axis, Sweep
from superposition_cli.config.experiment import Expectation, Experiment
from superposition_cli.config.hashing import hash8, identity, setting_words
from superposition_cli.config.loading import json_schema, load, loads, resolved
from superposition_cli.config.settings import Setting

__all__ = [
    "Axis",
    "Expectation",
    "Experiment",
    "Setting",
    "Sweep",
    "hash8",
    "identity",
    "json_schema",
    "load",
    "loads",
    "resolved",
    "setting_words",
]
