// A gamepad of the standard mapping as a device. It has no events for its sticks and buttons: `poll` reads them.

const DEAD = 0.12;
const RB = 5;
const ACTIONS = { 0: "success", 1: "failure", 2: "close", 3: "open", 4: "arm", 8: "control", 9: "pause" };

export class Gamepads {
  source = "gamepad";

  /** @param handlers `act(name)` for a press and `letGo(name)` for its end, `lost(what)` when the gamepad is gone. */
  constructor(handlers) {
    this.handlers = handlers;
    this.name = "";
    this.index = null;
    this.pressed = [];
    // A clutch that was held when everything was released counts again once it has been seen released.
    this.mustRelease = false;
    this.clutch = false;
    this.twist = [0, 0, 0, 0, 0, 0];
    addEventListener("gamepaddisconnected", (event) => {
      if (event.gamepad.index === this.index) {
        this.#forget();
        this.handlers.lost("gamepad");
      }
    });
  }

  release() {
    this.mustRelease = true;
    this.clutch = false;
    this.twist.fill(0);
  }

  poll(mayAct) {
    const pad = this.#pad();
    if (!pad) {
      return;
    }
    const pressed = pad.buttons.map((button) => button.pressed);
    const before = this.index === pad.index ? this.pressed : pressed;
    [this.index, this.name, this.pressed] = [pad.index, pad.id, pressed];
    if (!pressed[RB]) {
      this.mustRelease = false;
    }
    if (!mayAct) {
      return;
    }
    this.clutch = pressed[RB] && !this.mustRelease;
    this.twist = twistOf(pad);
    for (const [button, action] of Object.entries(ACTIONS)) {
      if (pressed[button] && !before[button]) {
        this.handlers.act(action);
      } else if (!pressed[button] && before[button]) {
        this.handlers.letGo(action);
      }
    }
  }

  #pad() {
    const pads = [...navigator.getGamepads()].filter((pad) => pad?.connected && pad.mapping === "standard");
    const pad = pads.find((candidate) => candidate.index === this.index) ?? pads[0];
    if (!pad && this.index !== null) {
      this.#forget();
      this.handlers.lost("gamepad");
    } else if (pad && pad.index !== this.index) {
      this.release();
    }
    return pad;
  }

  #forget() {
    this.release();
    this.index = null;
    this.name = "";
  }
}

function twistOf(pad) {
  const [leftX, leftY, rightX, rightY] = stick(pad.axes[0], pad.axes[1]).concat(stick(pad.axes[2], pad.axes[3]));
  const value = (button) => pad.buttons[button]?.value ?? 0;
  const up = value(7) + value(12) - value(6) - value(13);
  const roll = value(15) - value(14);
  return [-leftY, -leftX, up, roll, -rightY, -rightX].map((number) => Math.max(-1, Math.min(1, number)) || 0);
}

/** A stick without its dead zone, which is round: beyond it the scale begins at 0. */
function stick(x = 0, y = 0) {
  const length = Math.hypot(x, y);
  const scale = length > DEAD ? (Math.min(length, 1) - DEAD) / (1 - DEAD) / length : 0;
  return [scale * x, scale * y];
}
