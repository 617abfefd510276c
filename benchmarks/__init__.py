"""Benchmarks: see README.rst here."""
