// The socket to the hub, which comes back by itself. Nothing is kept for later while it is closed.

import { pack, unpack } from "./wire.js";

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
const ALIVE = 1000;
const SILENCE = 10_000;
const WRONG_SECRET = 4401;

/**
 * States: "connecting", "ready" (welcomed), "waiting" (tries again at `retryAt`), "refused" (tries only when asked).
 * @param handlers `changed()` after a change of state, `message(message)` for every message.
 */
export class Connection {
  constructor(url, { secret, role }, handlers) {
    Object.assign(this, { url, secret, role, handlers });
    this.state = "waiting";
    this.reason = "";
    this.retryAt = this.heardAt = 0;
    this.pause = FIRST_PAUSE;
    this.socket = null;
    setInterval(() => this.#beat(), ALIVE);
  }

  get isReady() {
    return this.state === "ready";
  }

  open() {
    clearTimeout(this.timer);
    this.#drop();
    this.reason = "";
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => socket.send(pack("hello", { secret: this.secret, role: this.role }));
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event);
    this.socket = socket;
    this.heardAt = performance.now();
    this.#become("connecting");
  }

  send(kind, fields, arrays) {
    if (!this.isReady) {
      return false;
    }
    this.socket.send(pack(kind, fields, arrays));
    return true;
  }

  #receive(data) {
    this.heardAt = performance.now();
    const message = unpack(data);
    if (message.kind === "welcome" && !this.isReady) {
      this.pause = FIRST_PAUSE;
      this.#become("ready");
    }
    this.handlers.message(message);
  }

  #closed({ code, reason }) {
    this.socket = null;
    this.reason = reason;
    if (code === WRONG_SECRET) {
      this.#become("refused");
      return;
    }
    this.retryAt = performance.now() + this.pause;
    this.timer = setTimeout(() => this.open(), this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE);
    this.#become("waiting");
  }

  #beat() {
    this.send("alive", {});
    if (document.hidden) {
      // A hidden page shows no pictures, and so gets none.
      this.heardAt = performance.now();
    } else if (this.socket && performance.now() - this.heardAt > SILENCE) {
      // A network that drops everything never closes a socket.
      this.#drop();
      this.#closed({ code: 0, reason: "" });
    }
  }

  #drop() {
    if (this.socket) {
      this.socket.onopen = this.socket.onmessage = this.socket.onclose = null;
      this.socket.close();
      this.socket = null;
    }
  }

  #become(state) {
    this.state = state;
    this.handlers.changed();
  }
}
