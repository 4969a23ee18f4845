"""Experiment to chunks, run folder, arrays."""
