// The keyboard as a device: a clutch, a twist, and presses.

import { ACTIONS, CLUTCH, MOTION, STOP, STOP_WITHIN } from "./keys.js";

export class Keyboard {
  source = "keyboard";

  /**
   * @param handlers `act(name)` for a press and `letGo(name)` for its end, `changed()` when clutch or twist changed,
   *   `mayAct()`, `help()`.
   */
  constructor(handlers) {
    this.handlers = handlers;
    this.held = new Set();
    this.escapeAt = -Infinity;
    addEventListener("keydown", (event) => this.#down(event));
    addEventListener("keyup", (event) => this.#up(event));
  }

  get clutch() {
    return this.held.has(CLUTCH);
  }

  get twist() {
    const twist = [0, 0, 0, 0, 0, 0];
    for (const code of this.held) {
      if (code in MOTION) {
        const [axis, direction] = MOTION[code];
        twist[axis] += direction;
      }
    }
    return twist.map((value) => Math.max(-1, Math.min(1, value)));
  }

  release() {
    this.held.clear();
  }

  #down(event) {
    if (event.code === STOP) {
      event.preventDefault();
      if (!event.repeat) {
        this.#escape(event.timeStamp);
      }
      return;
    }
    if (event.ctrlKey || event.altKey || event.metaKey) {
      // With these, keys belong to the browser, and macOS does not tell when they are released.
      this.release();
      this.handlers.changed();
      return;
    }
    const isHelp = event.key === "?" || event.code === "Slash";
    const isOurs = isHelp || event.code === CLUTCH || event.code in MOTION || event.code in ACTIONS;
    if (!isOurs || !this.handlers.mayAct(event)) {
      return;
    }
    event.preventDefault();
    if (event.repeat) {
      return;
    }
    if (isHelp) {
      this.handlers.help();
    } else if (event.code in ACTIONS) {
      this.handlers.act(ACTIONS[event.code]);
    } else {
      this.held.add(event.code);
      this.handlers.changed();
    }
  }

  #up(event) {
    if (event.code in ACTIONS) {
      this.handlers.letGo(ACTIONS[event.code]);
    }
    if (this.held.delete(event.code)) {
      event.preventDefault();
      this.handlers.changed();
    }
  }

  #escape(at) {
    const isSecond = at - this.escapeAt <= STOP_WITHIN;
    this.escapeAt = isSecond ? -Infinity : at;
    this.handlers.act(isSecond ? "stop" : "escape");
  }
}
