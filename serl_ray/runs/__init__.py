"""One training run: its loop, folder, log, mirror, trackers, progress and plots."""
