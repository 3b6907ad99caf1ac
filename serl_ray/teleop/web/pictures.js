// The cameras' pictures: a big one, and the others small beside it.

export class Pictures {
  constructor(big, name, strip) {
    Object.assign(this, { big, name, strip });
    this.cameras = [];
    this.chosen = null;
    this.bitmaps = {};
    this.thumbnails = {};
    new ResizeObserver(() => this.#sharpen()).observe(big);
  }

  /** Shows these cameras from now on; the one that was big stays so where it is among them. */
  setCameras(cameras) {
    this.cameras = cameras;
    this.bitmaps = {};
    this.chosen = cameras.includes(this.chosen) ? this.chosen : (cameras[0] ?? null);
    this.thumbnails = Object.fromEntries(cameras.map((camera) => [camera, this.#thumbnail(camera)]));
    this.strip.replaceChildren(...cameras.map((camera) => this.thumbnails[camera].button));
    this.strip.parentElement.classList.toggle("single", cameras.length < 2);
    this.#choose(this.chosen);
  }

  /** Draws the JPEGs of a frame once the browser is about to show them. It never does in a hidden page. */
  async draw(jpegs) {
    const cameras = this.cameras;
    const entries = Object.entries(jpegs).filter(([camera]) => cameras.includes(camera));
    const bitmaps = await Promise.all(
      entries.map(([, jpeg]) => createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }))));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    if (cameras !== this.cameras) {
      return false;
    }
    entries.forEach(([camera], i) => {
      this.bitmaps[camera]?.close();
      this.bitmaps[camera] = bitmaps[i];
      paint(this.thumbnails[camera].canvas, bitmaps[i]);
    });
    this.#paintBig();
    return true;
  }

  #thumbnail(camera) {
    const button = document.createElement("button");
    const canvas = document.createElement("canvas");
    const label = document.createElement("span");
    button.id = `camera-${camera}`;
    label.textContent = camera;
    button.append(canvas, label);
    button.addEventListener("click", () => this.#choose(camera));
    return { button, canvas };
  }

  #choose(camera) {
    this.chosen = camera;
    this.name.textContent = camera ?? "";
    for (const [name, { button }] of Object.entries(this.thumbnails)) {
      button.setAttribute("aria-pressed", String(name === camera));
    }
    if (!this.bitmaps[camera]) {
      this.big.getContext("2d").clearRect(0, 0, this.big.width, this.big.height);
    }
    this.#paintBig();
  }

  #paintBig() {
    const bitmap = this.bitmaps[this.chosen];
    if (bitmap) {
      paint(this.big, bitmap);
      this.#sharpen();
    }
  }

  /** Pixels of a small picture stay squares: smoothing would show edges that the policy does not see. */
  #sharpen() {
    this.big.classList.toggle("pixels", this.big.clientHeight > 1.5 * this.big.height);
  }
}

function paint(canvas, bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
}
