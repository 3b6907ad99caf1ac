"""Devices at the robot's own computer: found, read and joined to the hub, without a library and without a browser."""
