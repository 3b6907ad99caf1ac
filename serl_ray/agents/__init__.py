"""Agents: SAC, its hybrid with a grasp critic, and their losses."""
