"""Agents: SAC, SAC with a grasp critic, and their losses."""
