"""The common scene of all tasks: a table, a light, a front camera, and collision classes."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco

from serl_ray.envs.tabletop.arm import ArmSpec, arm_actuators, arm_body, arm_weld
from serl_ray.envs.tabletop.mjcf import look_at

TIMESTEP = 0.004
"""Duration of a physics step, seconds; 25 of them are one control step of 0.1 s."""


def build_model(arms: Sequence[ArmSpec], objects: str, render_size: int) -> mujoco.MjModel:
    """Compiles the scene.

    Collision classes: an `object` (moved by the robot) meets fixtures, fences, pads and other objects; a `fixture`
    (table, socket), a `fence` (invisible) and a finger's `pad` meet objects only; `visual` meets nothing.

    Args:
        arms: specs of the arms.
        objects: MJCF of the task's bodies.
        render_size: side of the largest rendered image, pixels.
    """
    indices = range(len(arms))
    return mujoco.MjModel.from_xml_string(f"""
<mujoco model="tabletop">
  <option timestep="{TIMESTEP}" integrator="implicitfast"/>
  <visual>
    <global offwidth="{render_size}" offheight="{render_size}"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0.35 0.35 0.35" specular="0 0 0"/>
    <quality offsamples="0" shadowsize="0"/>
    <map znear="0.02"/>
  </visual>
  <default>
    <geom solref="0.008 1" friction="0.3 0.005 0.0001"/>
    <default class="visual"><geom contype="0" conaffinity="0"/></default>
    <default class="object"><geom contype="1" conaffinity="3" condim="4"/></default>
    <default class="fixture"><geom contype="0" conaffinity="1"/></default>
    <default class="pad"><geom contype="2" conaffinity="0" condim="4" friction="1.5 0.02 0.0001"/></default>
    <default class="fence"><geom contype="0" conaffinity="1" group="4"/></default>
  </default>
  <worldbody>
    <light pos="0.3 0.3 1.2" dir="-0.25 -0.25 -1" directional="true" diffuse="0.45 0.45 0.45" castshadow="false"/>
    <geom name="table" type="plane" class="fixture" size="1 1 1" rgba="0.42 0.40 0.38 1"/>
    {look_at("front", (0.48, 0.0, 0.42), (0.0, 0.0, 0.1), fovy=34 if len(arms) == 1 else 44)}
    {"".join(arm_body(i, arms[i]) for i in indices)}
    {objects}
  </worldbody>
  <equality>{"".join(arm_weld(i) for i in indices)}</equality>
  <actuator>{"".join(arm_actuators(i) for i in indices if arms[i].has_gripper)}</actuator>
</mujoco>""")


def touches(data: mujoco.MjData, first: int, second: int) -> bool:
    """True if geoms `first` and `second` are in contact."""
    return any(pair in ((first, second), (second, first)) for pair in map(tuple, data.contact.geom.tolist()))
