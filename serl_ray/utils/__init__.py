"""Utilities that all other packages use: the device and typed options."""
