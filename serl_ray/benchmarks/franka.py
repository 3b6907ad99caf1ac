"""Hybrid training through the server of a Franka arm, of which a point that grasps an object is the stand-in."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from serl_ray.benchmarks.commands import SETUP_MODE, run_serl
from serl_ray.benchmarks.franka_arm import RESET_POSE, arm_settings, serving_arm
from serl_ray.benchmarks.franka_grasping import WRIST_CAMERA, GraspingArm
from serl_ray.benchmarks.timing import Row, print_report
from serl_ray.envs.recording import MAX_FAULTS
from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.runs.policy import load_policy
from serl_ray.utils.options import Options

GRASPING_ENV = "serl_ray.benchmarks.franka_grasping:GraspingFranka"
EVALUATION_SEED = 20_000
ARM_SETTINGS = {
    "translation_scale": 0.03,
    "rotation_scale": 0.02,
    "box_low": [0.4, -0.1, 0.11, 2.9, -0.2, -0.2],
    "box_high": [0.6, 0.1, 0.3, 3.15, 0.2, 0.2],
    "reset_pose": [*RESET_POSE[:2], 0.2, *RESET_POSE[3:]],
}
FRANKA_SETTINGS = {
    "hz": 20,
    "lateness": 1.0,
    "max_episode_length": 40,
    "gripper_seconds": 0.3,
    "reset_gripper": "open",
    "settle_seconds": 0.0,
    "reset_seconds": 0.2,
    "reset_speed": 1.0,
    "proprio_keys": ["gripper_pose", "tcp_pose", "tcp_vel"],
}
"""Settings of a task of 20 steps a second, half of the seconds of whose episodes are not waiting."""


class Franka(Options):
    """Records demonstrations, trains and evaluates on a task of reaching, grasping and lifting by the server of a
    Franka arm, with its gripper's dead time, its resets and its cameras' threads."""

    save_dir: Path = Path("runs/franka")
    """Folder for settings, demonstrations, the run and franka.json."""
    pixels: bool = False
    """See the object by a camera; by default its offset from the tool is in the state."""
    max_steps: int = 6000
    """Env steps of the training."""
    seed: int = 0
    """Seed of the training."""
    episodes: int = 50
    """Episodes of the evaluation."""

    def run(self) -> None:
        """Records, trains, evaluates and reports."""
        self.save_dir.mkdir(parents=True, exist_ok=True)
        run = self.save_dir / f"{'pixels' if self.pixels else 'state'}-{self.seed}"
        with serving_arm(GraspingArm()) as url:
            settings = self.save_dir / "franka.yaml"
            settings.write_text(
                json.dumps({"arms": [arm_settings(url, **ARM_SETTINGS)], **FRANKA_SETTINGS})
            )  # which is YAML
            self._train(run, ["settings", str(settings), "pixels", str(self.pixels)])
            agent, env = load_policy(run, env_name=GRASPING_ENV)
            with closing(env):
                outcome = evaluate(deterministic(agent), env, self.episodes, EVALUATION_SEED, max_faults=MAX_FAULTS)
        low, high = outcome.interval
        rows = [
            Row(
                f"success after {self.max_steps} env steps, {self.episodes} episodes",
                outcome.success_rate,
                "",
                ">= 0.9",
            ),
            Row("lower end of its 95 % interval", low, ""),
            Row("upper end of its 95 % interval", high, ""),
        ]
        print_report("franka", self.flat(), rows, self.save_dir)

    def _train(self, run: Path, env_kwargs: list[str]) -> None:
        demos = run.with_suffix(".pkl")
        env = ["--env_name", GRASPING_ENV, "--setup_mode", SETUP_MODE, "--env_kwargs", *env_kwargs]
        env += ["--image_keys", *([WRIST_CAMERA] if self.pixels else [])]
        run_serl("record", *env, "--episodes", "20", "--noise", "0.3", "--output", str(demos))
        flags = ["--preset", "tabletop", "--normalise_state", "--demo_paths", str(demos), "--seed", str(self.seed)]
        flags += ["--num_workers", "1", "--evaluate_every", "0", "--max_steps", str(self.max_steps)]
        run_serl("train", *env, *flags, "--save_dir", str(run))
