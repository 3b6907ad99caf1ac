"""Formats of demonstrations: HIL-SERL pickles, Parquet shards, LeRobot data sets."""
