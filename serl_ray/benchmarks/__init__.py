"""Measurements behind the README's claims, run by `serl benchmark`."""
