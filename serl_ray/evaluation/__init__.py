"""Evaluation: episodes of a policy, videos of them, and held-out demonstrations."""
