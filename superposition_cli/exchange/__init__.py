"""Matrices and runs in and out: measuring, importing, exporting."""
