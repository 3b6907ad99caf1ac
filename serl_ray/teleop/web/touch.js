// Two sticks on a touch screen as a device. The left one is the clutch as well: two thumbs are all there are.

const DEAD = 0.15;

export class Touch {
  source = "touch";

  /** @param handlers `changed()` when clutch or twist changed. */
  constructor(left, right, handlers) {
    this.handlers = handlers;
    this.left = new Pad(left, handlers.changed);
    this.right = new Pad(right, handlers.changed);
  }

  get clutch() {
    return this.left.pointer !== null;
  }

  get twist() {
    const [turn, up] = this.left.value;
    const [side, forward] = this.right.value;
    return [forward, side, up, 0, 0, turn];
  }

  release() {
    this.left.release();
    this.right.release();
  }
}

class Pad {
  constructor(element, changed) {
    Object.assign(this, { element, changed, knob: element.querySelector(".knob") });
    this.release();
    element.addEventListener("pointerdown", (event) => this.#down(event));
    element.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
      element.addEventListener(end, (event) => this.#up(event));
    }
  }

  release() {
    this.pointer = null;
    this.value = [0, 0];
    this.element.classList.remove("held");
    this.knob.style.transform = "";
  }

  #down(event) {
    event.preventDefault();
    if (this.pointer !== null) {
      return;
    }
    this.pointer = event.pointerId;
    this.element.setPointerCapture(event.pointerId);
    this.element.classList.add("held");
    // The thumb's first place is the centre, because it cannot see the pad below it.
    this.centre = [event.clientX, event.clientY];
    this.changed();
  }

  #move(event) {
    if (event.pointerId !== this.pointer) {
      return;
    }
    const radius = this.element.clientWidth / 2 - 20;
    const [x, y] = [event.clientX - this.centre[0], event.clientY - this.centre[1]];
    const length = Math.hypot(x, y) || 1;
    const reach = Math.min(length / radius, 1);
    const scale = Math.max(reach - DEAD, 0) / (1 - DEAD) / length;
    this.value = [-x * scale || 0, -y * scale || 0];
    this.knob.style.transform = `translate(${(x / length) * reach * radius}px, ${(y / length) * reach * radius}px)`;
  }

  #up(event) {
    if (event.pointerId === this.pointer) {
      this.release();
      this.changed();
    }
  }
}
