"""Evaluation of policies by episodes, videos and held-out demonstrations."""
