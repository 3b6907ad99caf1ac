"""Envs: the contract they keep, the ones that come along, and how to make them."""

from serl_ray.envs.contract import CheckReport, check_env, inspect_env
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.make import build_env, make_env

__all__ = ["CheckReport", "ScriptedExpert", "build_env", "check_env", "inspect_env", "make_env"]
