"""Checks of a robot against its demonstrations, before the first episode and in it."""
