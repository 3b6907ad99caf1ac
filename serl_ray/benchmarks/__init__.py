"""Measurements behind the README's claims, run by scripts/benchmark.py."""
