// A SpaceMouse by WebHID, which Chromium has on localhost and on https. It has no clutch: moving it is the clutch.
// serl_ray/teleop/devices/spacemouse.py says what the reports hold, and reads them at the robot's own computer.

const FILTERS = [0x046d, 0x256f].map((vendorId) => ({ vendorId, usagePage: 1, usage: 8 }));
const SCALE = 350;
const SILENT = 250;
const ON_ABOVE = 0.05;
const OFF_BELOW = 0.02;
const OFF = 500;
const [TRANSLATION, ROTATION, KEYS] = [1, 2, 3];
const TWO_KEYS = { 0: "close", 1: "open" };
const MANY_KEYS = { ...TWO_KEYS, 12: "success", 13: "failure", 14: "pause", 15: "reset", 22: "stop" };
const LARGE_MODELS = [0xc62b, 0xc631, 0xc632, 0xc633, 0xc638, 0xc652];

export class SpaceMouse {
  source = "spacemouse";
  name = "";
  clutch = false;
  /** The device is at rest, and may have begun to hand back. */
  tail = false;
  twist = [0, 0, 0, 0, 0, 0];

  /** @param handlers `act(name)` for a press, `lost(what)` when the SpaceMouse is gone, `tell(text)`. */
  constructor(handlers) {
    this.handlers = handlers;
    this.device = null;
    this.#forget();
    navigator.hid?.addEventListener("disconnect", ({ device }) => device === this.device && this.#lose());
  }

  get isPossible() {
    return "hid" in navigator;
  }

  /** Takes one that this page was given before, or else asks for one, which only a click may do. */
  async connect() {
    const isOurs = ({ vendorId, collections }) =>
      FILTERS.some((filter) => filter.vendorId === vendorId) &&
      collections.some(({ usagePage, usage }) => usagePage === 1 && usage === 8);
    const known = (await navigator.hid.getDevices()).filter(isOurs);
    const [device] = known.length ? known : await navigator.hid.requestDevice({ filters: FILTERS });
    if (!device || device === this.device) {
      return;
    }
    try {
      await device.open();
    } catch (error) {
      this.handlers.tell(`The SpaceMouse cannot be opened: ${error.message}`);
      return;
    }
    this.device = device;
    this.name = device.productName;
    this.keys = LARGE_MODELS.includes(device.productId) ? MANY_KEYS : TWO_KEYS;
    this.release();
    device.addEventListener("inputreport", (event) => device === this.device && this.#report(event));
    this.handlers.tell(`${this.name}: ready, moving it is the clutch.`);
  }

  /** Lets go; it counts again once it has been seen at rest. */
  release() {
    this.mustRest = true;
    this.clutch = this.tail = false;
    this.twist = [0, 0, 0, 0, 0, 0];
    this.restsSince = null;
  }

  poll(mayAct, now = performance.now()) {
    this.mayAct = mayAct;
    if (!this.device) {
      return;
    }
    if (now - this.heardAt > SILENT) {
      this.axes.fill(0);
    }
    const [x, y, z, rx, ry, rz] = this.axes;
    const twist = [y, x, z, ry, rx, rz].map((value) => Math.max(-1, Math.min(1, -value / SCALE)) || 0);
    const greatest = Math.max(...twist.map(Math.abs));
    this.mustRest &&= greatest >= OFF_BELOW;
    if (!mayAct || this.mustRest) {
      return;
    }
    this.twist = twist;
    if (greatest >= OFF_BELOW || now - this.touchedAt < OFF) {
      this.restsSince = null;
      this.clutch ||= greatest > ON_ABOVE;
    } else if (this.clutch) {
      this.restsSince ??= now;
      this.clutch = now - this.restsSince < OFF;
    }
    this.tail = this.clutch && this.restsSince !== null;
  }

  #report({ reportId, data }) {
    if ((reportId === TRANSLATION || reportId === ROTATION) && data.byteLength >= 6) {
      this.heardAt = performance.now();
      const first = reportId === ROTATION ? 3 : 0;
      const count = reportId === TRANSLATION && data.byteLength >= 12 ? 6 : 3;
      for (let axis = 0; axis < count; axis++) {
        this.axes[first + axis] = data.getInt16(2 * axis, true);
      }
    } else if (reportId === KEYS) {
      const isPressed = (bit) => Boolean((bit >> 3) < data.byteLength && data.getUint8(bit >> 3) >> (bit & 7) & 1);
      const before = this.pressed;
      this.pressed = Object.keys(this.keys).filter((bit) => isPressed(Number(bit)));
      this.pressed.filter((bit) => !before.includes(bit)).forEach((bit) => this.#press(this.keys[bit]));
    }
  }

  /** A key for a gripper moves the robot as well, and so it takes over. */
  #press(name) {
    if (!this.mayAct) {
      return;
    }
    if ((name === "close" || name === "open") && !this.mustRest) {
      this.touchedAt = performance.now();
      this.clutch = true;
      this.restsSince = null;
      this.tail = false;
      this.handlers.changed();
    }
    this.handlers.act(name);
  }

  #lose() {
    this.#forget();
    this.handlers.lost("SpaceMouse");
  }

  #forget() {
    this.release();
    this.device = null;
    this.name = "";
    this.axes = [0, 0, 0, 0, 0, 0];
    this.pressed = [];
    this.heardAt = this.touchedAt = -Infinity;
    this.mayAct = false;
  }
}
