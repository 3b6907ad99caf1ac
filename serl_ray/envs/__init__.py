"""Envs: their contract, the bundled envs, and the functions that make them."""

from serl_ray.envs.contract import CheckReport, check_env, inspect_env
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.make import build_env, make_env

__all__ = ["CheckReport", "ScriptedExpert", "build_env", "check_env", "inspect_env", "make_env"]
