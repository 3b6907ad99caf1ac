"""Devices of an operator at the robot, which drive it in place of the policy."""
