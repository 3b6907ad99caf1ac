"""Names of options in other libraries."""

from __future__ import annotations

ELSEWHERE = {
    "learning_rate": "lr",
    "gamma": "discount",
    "polyak": "tau",
    "buffer_size": "capacity",
    "replay_buffer_capacity": "capacity",
    "train_batch_size": "batch_size",
    "learning_starts": "training_starts",
    "total_timesteps": "max_steps",
    "num_envs": "envs_per_worker",
    "env": "env_name",
    "env_id": "env_name",
    "output_dir": "save_dir",
    "logdir": "save_dir",
    "exp_name": "env_name",
    "demo_path": "demo_paths",
    "checkpoint_path": "save_dir",
    "bc_checkpoint_path": "save_dir",
    "train_steps": "max_steps",
    "successes_needed": "episodes",
    "eval_n_trajs": "episodes",
    "eval_checkpoint_step": "checkpoint",
    "save_video": "video",
    "learner": "num_workers",
    "actor": "num_workers",
}
"""Names that other libraries have for our options."""
