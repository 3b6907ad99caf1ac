"""RLlib's ways to save and to restore an algorithm, all with the folders of `checkpoint`, and none with a pickle."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Self

from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.utils.annotations import override
from ray.tune import Checkpoint

from serl_ray.networks.config import TRUNKS
from serl_ray.options.sets import TrainingOptions, options_in
from serl_ray.rllib import checkpoint
from serl_ray.rllib.agreement import checked_env
from serl_ray.utils.options import Role, names_of

logger = logging.getLogger(__name__)

PICKLE = "_dict_checkpoint.pkl"
"""File that Tune would unpickle."""


class SavedAlgorithm(Algorithm):
    """An algorithm whose `save_checkpoint` and `load_checkpoint` are those of `checkpoint`."""

    @classmethod
    @override(Algorithm)
    def from_checkpoint(cls, path: str | Path | Checkpoint | Any, env_name: str | None = None, **options: Any) -> Self:
        """The algorithm that a checkpoint describes, going on where it was saved.

        Args:
            path: the checkpoint's folder, or what `save` returned.
            env_name: an env of your own, whose code will run. A checkpoint, which may be anybody's, does not decide
                that.
            options: others than the checkpoint's. Those that name files and folders (`demo_paths`, `classifier`,
                `init_from`, `episodes_dir`, `positives_dir`, a file as `trunk`) count only where they are given here;
                None or () for none.

        Raises:
            ValueError: the checkpoint names an env, a file or a folder, and the caller does not.
        """
        saved_at = _checkpoint(path)
        with saved_at.as_directory() as directory:
            saved = checkpoint.read_run(Path(directory))["options"]
            config = cls.get_default_config()
            _check_paths(Path(directory), config.options_class, saved, options)
            described = {name: saved[name] for name in names_of(config.options_class) if name in saved} | options
            described["env_name"] = checked_env(Path(directory), saved, env_name)
            config.training(**described)
            for sentence in options_in(config).unused():  # which an older release let pass
                logger.warning("%s: %s", saved_at.path, sentence)
            algorithm = config.build_algo()
            algorithm.load_checkpoint(directory)
        return algorithm

    @override(Algorithm)
    def restore(self, checkpoint_path: Any) -> None:
        """Restores from a folder or URI; unlike Tune's method, it unpickles nothing."""
        saved = _checkpoint(checkpoint_path)
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


def _checkpoint(saved: str | Path | Checkpoint | Any) -> Checkpoint:
    saved = getattr(saved, "checkpoint", saved)
    return Checkpoint(str(saved)) if isinstance(saved, str | Path) else saved


def _check_paths(path: Path, options: type[TrainingOptions], saved: dict[str, Any], given: dict[str, Any]) -> None:
    named = {name: saved[name] for name in names_of(options, Role.PATH) if saved.get(name)}
    if (trunk := saved.get("trunk", "random")) not in TRUNKS:
        named["trunk"] = trunk
    for name in sorted(named.keys() - given.keys()):
        raise ValueError(
            f"{path} names {name} {named[name]!r:.200}, and may be anybody's. Name it yourself: from_checkpoint(path, "
            f"{name}=...), or None or () for none."
        )
