"""Sweeps over options, as Ray Tune runs them: what is tried, with which data, and what has come of it."""
