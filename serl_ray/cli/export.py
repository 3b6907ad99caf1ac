"""`serl export`: a policy's folder for robots without PyTorch and Ray."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge

from serl_ray.cli.parser import given_options
from serl_ray.utils.options import Options, Role


class Export(Options):
    """Write a trained policy as ONNX with its env contract, to act with by numpy and onnxruntime alone
    (docs/deploy.md). Its actions are compared with the agent's first."""

    title: ClassVar[str] = "export"

    checkpoint: Annotated[str, Role.POSITIONAL]
    """Run folder, whose checkpoint with the best evaluation is exported; or one checkpoint in it; or the URI of its
    mirror."""
    policy_dir: Annotated[Path, Role.POSITIONAL]
    """Folder for policy.onnx and policy.json; an exported policy there is replaced."""
    newest: bool = False
    """Export the newest checkpoint of the run in place of the best one."""
    observations: Annotated[int, Ge(1)] = 1000
    """Random observations on which the actions are compared."""


def main(argv: Sequence[str]) -> int:
    """Exports, and prints what acting with it needs."""
    options = Export(**given_options("serl export", argv, Export))

    from serl_ray.runs.export import export_policy
    from serl_ray.runs.folder import choose_checkpoint
    from serl_ray.runs.mirror import local_run

    path, sentence = choose_checkpoint(local_run(options.checkpoint, options.newest), options.newest)
    print(sentence.replace("Playing", "Exporting"))
    folder = options.policy_dir.expanduser().absolute()
    found = export_policy(path, folder, options.observations)
    cameras = ", ".join(f"{key} {shape[0]}x{shape[1]}" for key, shape in found["images"].items())
    print(
        f"{folder}: weights {found['weights']}; cameras {cameras or 'none'}; a state of {found['state_dim']} numbers "
        f"({' + '.join(found['state_keys'])}); actions of {found['action_dim']} numbers, which differ from the agent's "
        f"by {found['difference']:.1g} at most in {options.observations} observations."
    )
    if found["stages"] > 1:
        print(f"The last number of 'state' is the share of {found['stages']} stages that are reached: append it there.")
    print(f"Next: serl-robot-act {folder} my_robot:make_env --hz {found['control_hz'] or 10:g}")
    return 0
