// Requests to the hub's sorter (serl_ray/teleop/sorting_routes.py is the other side), and the pictures it sends.

const ANSWER = 15_000;

export class Refused extends Error {}

export class SortingApi {
  constructor(secret) {
    this.secret = secret;
    this.tag = "";
  }

  /** {explanation, finish, items}; null where nothing has changed since the last time. */
  async items() {
    const response = await this.#ask("GET", "items", { headers: this.tag ? { "If-None-Match": this.tag } : {} });
    if (response.status === 304) {
      return null;
    }
    this.tag = response.headers.get("ETag");
    return response.json();
  }

  async image(id, camera, signal) {
    const path = `image/${encodeURIComponent(id)}/${encodeURIComponent(camera)}`;
    return (await this.#ask("GET", path, { signal })).blob();
  }

  async sort(id, label) {
    await this.#ask("POST", "sort", { body: JSON.stringify({ id, label }) });
  }

  /** The id of the item that is sorted no more; null where there is nothing to take back. */
  async undo() {
    return (await (await this.#ask("POST", "undo")).json()).id;
  }

  async finish() {
    await this.#ask("POST", "finish");
  }

  async #ask(method, path, { headers = {}, signal, ...more } = {}) {
    const late = AbortSignal.timeout(ANSWER);
    let response;
    try {
      const authorized = { Authorization: `Bearer ${this.secret}`, ...headers };
      const until = signal ? AbortSignal.any([signal, late]) : late;
      response = await fetch(`sorting/${path}`, { method, headers: authorized, cache: "no-store", signal: until, ...more });
    } catch (error) {
      if (error.name === "AbortError") {
        throw error;
      }
      throw new Refused("The hub does not answer.");
    }
    if (!response.ok && response.status !== 304) {
      throw new Refused(await response.text());
    }
    return response;
  }
}

/** Pictures as addresses for <img>, each loaded once and let go when nobody shows it any more. */
export class SortingPictures {
  constructor(api) {
    this.api = api;
    this.kept = new Map();
  }

  /** Shows a picture in an element, and returns a function that takes it away. */
  show(element, id, camera) {
    const key = JSON.stringify([id, camera]);
    const kept = this.kept.get(key) ?? this.#load(key, id, camera);
    kept.users += 1;
    let isShown = true;
    kept.url.then((url) => isShown && (element.src = url), (error) => {
      if (error.name !== "AbortError") {
        element.alt = error.message;
      }
    });
    return () => {
      isShown = false;
      kept.users -= 1;
      if (!kept.users) {
        this.kept.delete(key);
        kept.abort.abort();
        kept.url.then((url) => URL.revokeObjectURL(url), () => {});
      }
    };
  }

  #load(key, id, camera) {
    const abort = new AbortController();
    const url = this.api.image(id, camera, abort.signal).then((blob) => URL.createObjectURL(blob));
    const kept = { users: 0, abort, url };
    this.kept.set(key, kept);
    return kept;
  }
}
