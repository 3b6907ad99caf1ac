// The devices together: which one is active, what it commands, and the release of everything at once.

import { TOOL, turned } from "./layout.js";

const SPEEDS = [0.25, 0.5, 1];

export class Driver {
  arm = 0;
  speed = 0.5;
  view = "behind";

  constructor(devices) {
    this.devices = devices;
    this.active = devices[0];
    this.mustRest = false;
  }

  get clutch() {
    return this.active.clutch;
  }

  /** Makes the device whose clutch is held the active one; while it is, no other one takes its place. */
  choose() {
    if (!this.active.clutch) {
      this.active = this.devices.find((device) => device.clutch) ?? this.active;
    }
    this.mustRest &&= this.active.twist.some((value) => value !== 0);
  }

  /** The motion of the chosen arm, as a command has it: the twist in the frame of the robot's base or of its tool. */
  motion(robot) {
    const twist = this.clutch && !this.mustRest ? this.active.twist : [0, 0, 0, 0, 0, 0];
    const numbers = turned(twist, this.view).map((value) => Math.max(-1, Math.min(1, this.speed * value)));
    const reference = this.view === TOOL ? TOOL : "base";
    return { twist: numbers, arm: Math.min(this.arm, robot.arms - 1), reference };
  }

  release() {
    this.devices.forEach((device) => device.release());
  }

  /** A device is gone; the first one, which is always there, takes its place. */
  lost() {
    this.release();
    this.active = this.devices[0];
  }

  setSpeed(percent) {
    this.speed = percent / 100;
  }

  nextSpeed() {
    this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length];
  }

  /** The motion that is under way was meant for the other arm: this one waits until the device has been at rest. */
  setArm(arm) {
    this.mustRest = true;
    this.arm = arm;
  }

  setView(view) {
    this.mustRest = true;
    this.view = view;
  }
}
