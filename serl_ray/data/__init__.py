"""Demonstrations and replay. Import the module you need: this package imports nothing by itself."""
