"""The error of what lies outside of serl_ray."""


class SetupError(RuntimeError):
    """Something that a user must put right: a library that is missing, a tracker, an env that fails every time."""
