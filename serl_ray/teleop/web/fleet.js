// The Fleet tab: a thumbnail of every robot, those that need somebody first.

import { who } from "./status.js";

const NEED = ["STOPPED", "PAUSED", "WAITING"];
const VALUE_STEP = 0.05;
const EPISODE_STEP = 50;
const SORTED_EVERY = 2000;

export function setUp(page) {
  const fleet = new Fleet(page, document.getElementById("fleet"));
  page.hear("welcome", () => fleet.update());
  page.hear("gone", () => fleet.update());
  page.hear("thumbnail", (message) => fleet.show(message));
  page.tabs.onShow("fleet", () => fleet.update(), () => fleet.update());
}

class Fleet {
  constructor(page, element) {
    Object.assign(this, { page, element });
    this.tiles = {};
    this.asked = "";
    this.sortedAt = -Infinity;
    addEventListener("keydown", (event) => this.#key(event));
  }

  /** There are other robots, another connection, or another tab. */
  update() {
    const { model, tabs, connection } = this.page;
    const isOn = tabs.current === "fleet";
    const asks = `${model.client} ${isOn}`;
    if (asks !== this.asked && connection.send("fleet", { on: isOn })) {
      this.asked = asks;
    }
    for (const name of Object.keys(this.tiles).filter((known) => !(known in model.robots))) {
      this.tiles[name].element.remove();
      delete this.tiles[name];
    }
    for (const name of Object.keys(model.robots)) {
      this.tiles[name] ??= new Tile(name, () => this.#drive(name));
    }
    this.#sort();
  }

  async show({ fields, jpegs }) {
    const { model, connection } = this.page;
    const tile = this.tiles[fields.robot];
    if (!tile) {
      return;
    }
    tile.say(fields, model, performance.now());
    if (performance.now() - this.sortedAt > SORTED_EVERY) {
      this.#sort();
    }
    try {
      await tile.draw(Object.values(jpegs)[0]);
    } finally {
      connection.send("seen", { robot: fields.robot });
    }
  }

  #sort() {
    this.sortedAt = performance.now();
    const names = Object.keys(this.tiles).sort((a, b) => compare(this.tiles[a].need, this.tiles[b].need));
    names.forEach((name, i) => (this.tiles[name].number.textContent = i < 9 ? `${i + 1}` : ""));
    const elements = names.map((name) => this.tiles[name].element);
    if (elements.some((element, i) => element !== this.element.children[i])) {
      this.element.replaceChildren(...elements);
    }
  }

  #drive(name) {
    this.page.watch(name);
    this.page.tabs.show("drive");
  }

  #key(event) {
    const isOurs = this.page.tabs.current === "fleet" && !document.getElementById("help").open && !event.repeat;
    const name = this.element.children[Number(event.code.replace("Digit", "")) - 1]?.dataset.robot;
    if (isOurs && event.code.startsWith("Digit") && name && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      this.#drive(name);
    }
  }
}

class Tile {
  constructor(name, chosen) {
    this.element = document.createElement("button");
    this.element.className = "tile";
    this.element.dataset.robot = name;
    this.element.id = `fleet-${name}`;
    this.number = child(this.element, "kbd");
    this.canvas = child(this.element, "canvas");
    child(this.element, "b", "name").textContent = name;
    this.value = child(this.element, "span");
    this.who = child(this.element, "span", "who");
    this.facts = child(this.element, "span", "facts");
    this.element.addEventListener("click", () => {
      this.element.blur();
      chosen();
    });
    this.need = needOf(name, "", {}, {});
    this.at = this.frame = null;
  }

  say({ robot, frame, state, action, numbers }, model, now) {
    const actor = action?.actor ?? null;
    const isMine = state.holder === model.client;
    const connection = { state: "ready" };
    const spec = model.robots[robot];
    const { label, tone } = who({ model, connection, silence: 0, role: model.role, robot, spec, state, actor, isMine });
    this.need = needOf(robot, label, state, numbers ?? {});
    this.element.dataset.tone = tone;
    this.who.textContent = tone === "other" ? `DRIVEN by ${state.holder}` : label;
    const rate = this.at !== null && frame > this.frame ? (1000 * (frame - this.frame)) / (now - this.at) : null;
    this.value.textContent = numbers?.q === undefined ? "" : `Q ${numbers.q.toFixed(2)}`;
    this.facts.textContent = `episode ${state.episode} · step ${state.step} · ${rate?.toFixed(1) ?? "–"} Hz`;
    [this.at, this.frame] = [now, frame];
  }

  /** Draws a JPEG once the browser is about to show it; without one, only waits until then. */
  async draw(jpeg) {
    const bitmap = jpeg && (await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" })));
    await new Promise((resolve) => requestAnimationFrame(resolve));
    if (bitmap) {
      [this.canvas.width, this.canvas.height] = [bitmap.width, bitmap.height];
      this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
      bitmap.close();
    }
  }
}

/** Numbers by which robots are sorted: who waits comes first, then low values, then long episodes. */
export function needOf(name, label, state, numbers) {
  const waits = NEED.indexOf(label);
  const value = Math.round((numbers.q ?? Infinity) / VALUE_STEP);
  return [waits < 0 ? NEED.length : waits, value, -Math.floor((state.step ?? 0) / EPISODE_STEP), name];
}

export function compare(first, second) {
  const i = first.findIndex((value, at) => value !== second[at]);
  return i < 0 ? 0 : first[i] < second[i] ? -1 : 1;
}

function child(parent, tag, name = "") {
  const element = document.createElement(tag);
  element.className = name;
  parent.append(element);
  return element;
}
