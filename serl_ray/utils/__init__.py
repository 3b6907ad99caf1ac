"""What every other package builds on: the device, and typed options."""
