"""Replay: ring buffer, log, mixed batches of demonstrations and experience, stored maps, and streams."""
