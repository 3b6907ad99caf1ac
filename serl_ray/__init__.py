"""HIL-SERL on Ray: robots learn from pixels, demonstrations and a person in the loop."""

__version__ = "0.1.0"
