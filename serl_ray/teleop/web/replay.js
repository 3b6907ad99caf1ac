// The pictures of an episode, as a strip of some of them; the one under the pointer is shown large.

const MOST_KEPT = 48;
const SHOWN = 12;

export class Replay {
  /** @param strip element of the thumbnails. @param big canvas of the large picture. @param camera element with the name of its camera. */
  constructor(strip, big, camera) {
    Object.assign(this, { strip, big, camera });
    this.clear();
  }

  clear() {
    this.running = { frames: [], stride: 1, seen: 0 };
    this.ended = null;
    this.shown = null;
  }

  /** A frame has come; one without an executed action is the first of an episode. */
  add({ action }, jpegs) {
    if (action.executed === null) {
      this.ended = this.running;
      this.running = { frames: [], stride: 1, seen: 0 };
    }
    const { running } = this;
    if (running.seen % running.stride === 0) {
      running.frames.push(jpegs);
    }
    running.last = jpegs;
    running.seen += 1;
    if (running.frames.length > MOST_KEPT) {
      running.frames = running.frames.filter((_, i) => i % 2 === 0);
      running.stride *= 2;
    }
  }

  /** Shows the episode that has ended last: the running one as long as the robot has not been reset. */
  show() {
    const episode = this.running.seen > 1 || !this.ended ? this.running : this.ended;
    if (episode !== this.shown) {
      this.shown = episode;
      this.strip.replaceChildren(...chosen(episode).map((jpegs) => this.#thumbnail(jpegs)));
    }
  }

  #thumbnail(jpegs) {
    const canvas = document.createElement("canvas");
    const jpeg = jpegs[this.camera.textContent] ?? Object.values(jpegs)[0];
    if (jpeg) {
      createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })).then((bitmap) => {
        [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
        canvas.getContext("2d").drawImage(bitmap, 0, 0);
      });
    }
    canvas.addEventListener("pointerenter", () => this.#enlarge(canvas));
    return canvas;
  }

  #enlarge(canvas) {
    if (canvas.width) {
      [this.big.width, this.big.height] = [canvas.width, canvas.height];
      this.big.getContext("2d").drawImage(canvas, 0, 0);
    }
  }
}

/** Some frames of an episode, evenly spread, with the first and the last one. */
function chosen({ frames, last }) {
  const all = frames.at(-1) === last || !last ? frames : [...frames, last];
  const count = Math.min(SHOWN, all.length);
  return Array.from({ length: count }, (_, i) => all[count > 1 ? Math.round((i * (all.length - 1)) / (count - 1)) : 0]);
}
