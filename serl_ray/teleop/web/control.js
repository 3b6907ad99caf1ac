// What the page sends to its robot: commands, presses, and the release of everything.

import { VIEWS } from "./layout.js";

const STOP_CONFIRMED = 1000;

const find = (id) => document.getElementById(id);

export class Control {
  constructor(model, connection, driver, view) {
    Object.assign(this, { model, connection, driver, view });
    // When a stop was sent that has not been confirmed; null without one.
    this.stopSent = null;
    this.actions = {
      stop: () => this.stop(),
      control: () => this.press(model.isMine ? "release" : "request"),
      enter: () => this.act(model.mayBeReady ? "ready" : "control"),
      pause: () => this.press(model.state?.is_paused ? "resume" : "pause"),
      success: () => this.press(this.isMarked ? "mark" : "success"),
      close: () => this.#grip(-1),
      open: () => this.#grip(1),
      arm: () => this.#chooseArm(1 - driver.arm),
      "speed-next": () => driver.nextSpeed(),
      escape: () => find("help").close(),
      help: () => this.#help(),
      ...Object.fromEntries([25, 50, 100].map((percent) => [`speed-${percent}`, () => driver.setSpeed(percent)])),
      ...Object.fromEntries([0, 1].map((arm) => [`arm-${arm}`, () => this.#chooseArm(arm)])),
      ...Object.fromEntries(VIEWS.map((side) => [`view-${side}`, () => this.#chooseView(side)])),
    };
  }

  /** Does what a name in keys.js or in `data-action` stands for; one that is not listed is a press of this name. */
  act(name) {
    (this.actions[name] ?? (() => this.press(name)))();
    this.view.flash(`key-${name}`);
  }

  /** True in a recording of images, where frames are successes while the success key is held. */
  get isMarked() {
    return Boolean(this.model.state?.recording?.images);
  }

  /** A key that stands for this name is let go. */
  letGo(name) {
    if (name === "success" && this.isMarked && this.model.isMine) {
      this.press("unmark");
    }
  }

  /** Sends the state of the devices, if this page has control. */
  command() {
    const { model, driver } = this;
    if (model.isMine && model.spec) {
      const { twist, ...motion } = driver.motion(model.spec);
      const device = { clutch: driver.clutch, source: driver.active.source, tail: driver.active.tail ?? false };
      const fields = { epoch: model.state.epoch, frame: model.displayed ?? 0, ...device, ...motion };
      this.connection.send("command", fields, { twist });
    }
  }

  press(name, fields = {}) {
    const epoch = this.model.isMine ? this.model.state.epoch : 0;
    const frame = this.model.displayed ?? 0;
    const isSent = this.connection.send("press", { epoch, frame, press: name, ...fields });
    if (!isSent && name !== "stop") {
      this.view.tell("Nothing was sent: this page is not connected.", "refusal", true);
    }
    return isSent;
  }

  stop() {
    if (!this.press("stop")) {
      this.view.tell("The stop did not go out: use the hardware stop.", "stop", true);
      return;
    }
    const sent = (this.stopSent = performance.now());
    setTimeout(() => {
      if (this.stopSent === sent) {
        this.view.tell("The stop has not been confirmed: use the hardware stop.", "stop", true);
      }
    }, STOP_CONFIRMED);
  }

  /** Lets go of everything on every device, and says so to the robot at once. */
  release() {
    this.driver.release();
    this.command();
    if (this.model.state?.is_marking) {
      this.letGo("success");
    }
  }

  #grip(direction) {
    const gripper = this.model.spec?.grippers.length > 1 ? this.driver.arm : 0;
    this.press("gripper", { gripper, direction });
  }

  #chooseArm(arm) {
    if (this.model.spec?.arms > 1 && arm !== this.driver.arm) {
      this.driver.setArm(arm);
    }
  }

  #chooseView(side) {
    this.driver.setView(side);
    localStorage.setItem(`serl-ray-view-${this.model.robot}`, side);
  }

  #help() {
    if (find("help").open) {
      find("help").close();
    } else {
      this.release();
      find("help").showModal();
    }
  }
}
