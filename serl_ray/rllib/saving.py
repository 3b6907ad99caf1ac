"""RLlib's ways to save and to restore an algorithm, all with the folders of `checkpoint`, and none with a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override
from ray.tune import Checkpoint

from serl_ray.rllib import checkpoint
from serl_ray.settings import names_of

PLACES = ("demo_paths", "classifier", "init_from", "episodes_dir", "positives_dir")
"""Settings that name files and folders, to be read or written."""
TRUNKS = ("random", "imagenet")
"""That are no files."""
PICKLE = "_dict_checkpoint.pkl"
"""Which Tune would load."""


class SavedAlgorithm(Algorithm):
    """An algorithm whose `save_checkpoint` and `load_checkpoint` are those of `checkpoint`."""

    @classmethod
    @override(Algorithm)
    def from_checkpoint(cls, path: str | Path, env_name: str | None = None, **settings: Any) -> Self:
        """The algorithm that a checkpoint describes, going on where it was saved.

        Args:
            path: of the checkpoint.
            env_name: an env of your own, whose code will run. A checkpoint, which may be anybody's, does not decide that.
            settings: others than the checkpoint's. Those that name files and folders (`demo_paths`, `classifier`, `init_from`,
                `episodes_dir`, `positives_dir`, a file as `trunk`) count only where they are given here; None or () for none.

        Raises:
            ValueError: the checkpoint names an env, a file or a folder, and the caller does not.
        """
        saved = checkpoint.read_run(Path(path))["settings"]
        _check_places(Path(path), saved, settings)
        config = cls.get_default_config()
        described = {name: saved[name] for name in names_of(config.settings_class) if name in saved} | settings
        described["env_name"] = checkpoint.checked_env(Path(path), saved, env_name)
        algorithm = config.training(**described).build_algo()
        algorithm.load_checkpoint(str(path))
        return algorithm

    @override(Algorithm)
    def restore(self, checkpoint_path: Any) -> None:
        """As Tune's, which would unpickle what another kind of algorithm writes, wherever the checkpoint lies."""
        saved = getattr(checkpoint_path, "checkpoint", checkpoint_path)
        saved = saved if isinstance(saved, Checkpoint) else Checkpoint(str(saved))
        with saved.as_directory() as directory:
            if (Path(directory) / PICKLE).exists():
                raise ValueError(f"{saved.path} is no checkpoint of serl_ray: it holds a pickle, which could run code.")
            local = Checkpoint.from_directory(directory)
            if hasattr(checkpoint_path, "metrics"):
                local = type(checkpoint_path)(checkpoint=local, metrics=checkpoint_path.metrics)
            super().restore(local)

    @override(Algorithm)
    def save_to_path(self, path: Any = None, **kwargs: Any) -> str:
        """Refused: RLlib's own would write pickles."""
        raise ValueError(f"save_to_path({str(path)!r}) would write pickles. Use save({str(path)!r}).")

    @override(Algorithm)
    def restore_from_path(self, path: Any, *args: Any, **kwargs: Any) -> None:
        """Refused: RLlib's own would load pickles, which could run code."""
        raise ValueError(
            f"restore_from_path({str(path)!r}) would load pickles, which could run code. Use restore({str(path)!r})."
        )


def _check_places(path: Path, saved: dict[str, Any], given: dict[str, Any]) -> None:
    named = {name: saved[name] for name in PLACES if saved.get(name)}
    if (trunk := saved.get("trunk", "random")) not in TRUNKS:
        named["trunk"] = trunk
    for name in sorted(named.keys() - given.keys()):
        raise ValueError(
            f"{path} names {name} {named[name]!r:.200}, and may be anybody's. Name it yourself: from_checkpoint(path, "
            f"{name}=...), or None or () for none."
        )
