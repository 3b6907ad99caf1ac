// A grid of pictures that are sorted into success, failure and left out, by keys, mouse or touch.
//
//   const grid = new SortingGrid(section, new SortingApi(secret), { mayAct: () => true, canSort: () => true });
//   grid.show();  grid.hide();  // its keys act, and it asks for new items, only while it is shown

import { SortingPictures } from "./sorting_api.js";
import { describe, layoutOf, WORDS } from "./sorting_cells.js";

const POLL = 2000;
const LABEL_KEYS = { KeyS: "success", KeyF: "failure", KeyX: "left_out", Space: "left_out" };
const MOVES = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (columns) => -columns, ArrowDown: (columns) => columns };

const MARKUP = `
  <div class="sorting-bar"><p class="sorting-explanation"></p><output class="sorting-progress"></output></div>
  <div class="sorting-grid" tabindex="-1"><div class="sorting-space" role="listbox"></div></div>
  <div class="sorting-preview">
    <div class="sorting-cameras"></div>
    <div class="sorting-caption"></div>
    <div class="sorting-error" role="alert" hidden></div>
    <div class="sorting-buttons">
      <button data-label="success"><kbd>S</kbd>success</button>
      <button data-label="failure"><kbd>F</kbd>failure</button>
      <button data-label="left_out"><kbd>X</kbd>leave out</button>
      <button data-undo><kbd>U</kbd>undo</button>
      <button data-finish hidden><kbd>Enter</kbd><span></span></button>
    </div>
  </div>`;

export class SortingGrid {
  /**
   * @param section element that the grid fills.
   * @param api a SortingApi.
   * @param handlers `mayAct()`: whether keys may act; `canSort()`: whether the person may sort, rather than look;
   *   `finished()`: the hub has stored what was sorted.
   */
  constructor(section, api, { mayAct = () => true, canSort = () => true, finished = () => {} } = {}) {
    Object.assign(this, { section, api, mayAct, canSort, finished });
    section.classList.add("sorting");
    section.innerHTML = MARKUP;
    this.find = (name) => section.querySelector(`.sorting-${name}`);
    this.pictures = new SortingPictures(api);
    this.items = [];
    this.waiting = new Map();
    this.cells = new Map();
    this.selected = null;
    this.shownPreview = "";
    this.dropPreview = [];
    this.queue = Promise.resolve();
    this.isShown = false;
    addEventListener("keydown", (event) => this.#key(event));
    section.addEventListener("click", (event) => this.#click(event));
    this.find("grid").addEventListener("scroll", () => this.#render());
    new ResizeObserver(() => this.#render()).observe(this.find("grid"));
  }

  show() {
    this.isShown = true;
    clearInterval(this.timer);
    this.timer = setInterval(() => this.refresh(), POLL);
    this.refresh();
  }

  hide() {
    this.isShown = false;
    clearInterval(this.timer);
    this.#render();
  }

  /** Asks the hub for the items. */
  refresh() {
    return this.#then(async () => {
      const answer = await this.api.items();
      if (answer) {
        this.#take(answer);
      }
    });
  }

  sort(label) {
    const item = this.#item();
    if (!item || !this.canSort()) {
      return;
    }
    const { id } = item;
    Object.assign(item, { label, is_sorted: true });
    this.waiting.set(id, label);
    this.#select(this.#next(id));
    this.#then(async () => {
      try {
        await this.api.sort(id, label);
      } finally {
        if (this.waiting.get(id) === label) {
          this.waiting.delete(id);
        }
      }
    });
  }

  undo() {
    if (!this.canSort()) {
      return;
    }
    this.#then(async () => {
      const id = await this.api.undo();
      const answer = await this.api.items();
      if (answer) {
        this.#take(answer);
      }
      if (id !== null) {
        this.#select(id);
      }
    });
  }

  finish() {
    if (!this.canSort() || this.find("buttons").querySelector("[data-finish]").hidden) {
      return;
    }
    this.#then(async () => {
      await this.api.finish();
      this.finished();
      this.refresh();
    });
  }

  /** Everything that is asked of the hub, one after the other; a refusal is shown until the next one succeeds. */
  #then(ask) {
    this.queue = this.queue.then(ask).then(() => this.#error(""), (error) => {
      this.#error(error.message);
      this.api.tag = "";  // what this page shows may be wrong: the next list counts
    });
    return this.queue;
  }

  #error(text) {
    this.find("error").hidden = !text;
    this.find("error").textContent = text;
  }

  #take({ explanation, finish, items }) {
    for (const item of items) {
      if (this.waiting.has(item.id)) {
        Object.assign(item, { label: this.waiting.get(item.id), is_sorted: true });
      }
    }
    this.items = items;
    this.find("explanation").textContent = explanation;
    const button = this.find("buttons").querySelector("[data-finish]");
    button.hidden = !finish;
    button.querySelector("span").textContent = finish;
    if (!this.#item()) {
      this.selected = (items.find((item) => !item.is_sorted) ?? items[0])?.id ?? null;
    }
    this.#render();
  }

  #item() {
    return this.items.find(({ id }) => id === this.selected);
  }

  /** The next item that is not sorted, behind this one or else from the first on; this one where all are sorted. */
  #next(id) {
    const at = this.items.findIndex((item) => item.id === id);
    const inOrder = [...this.items.slice(at + 1), ...this.items.slice(0, at)];
    return inOrder.find((item) => !item.is_sorted)?.id ?? id;
  }

  #select(id) {
    this.selected = id;
    const at = this.items.findIndex((item) => item.id === id);
    const { columns, height } = this.#layout();
    const grid = this.find("grid");
    const top = Math.floor(at / columns) * height;
    if (top < grid.scrollTop) {
      grid.scrollTop = top;
    } else if (top + height > grid.scrollTop + grid.clientHeight) {
      grid.scrollTop = top + height - grid.clientHeight;
    }
    this.#render();
  }

  #key(event) {
    if (!this.isShown || event.altKey || event.metaKey || !this.mayAct(event)) {
      return;
    }
    const isUndo = event.code === (event.ctrlKey ? "KeyZ" : "KeyU");
    if (event.ctrlKey && !isUndo) {
      return;
    }
    if (event.code in MOVES) {
      this.#move(MOVES[event.code](this.#layout().columns));
    } else if (!isUndo && !(event.code in LABEL_KEYS) && event.code !== "Enter") {
      return;
    } else if (!event.repeat) {
      isUndo ? this.undo() : event.code === "Enter" ? this.finish() : this.sort(LABEL_KEYS[event.code]);
    }
    event.preventDefault();
  }

  #move(by) {
    const at = this.items.findIndex((item) => item.id === this.selected);
    const target = this.items[Math.max(0, Math.min(this.items.length - 1, at + by))];
    if (target) {
      this.#select(target.id);
    }
  }

  #click({ target }) {
    const button = target.closest("button");
    button?.blur();
    if (button?.dataset.label) {
      this.sort(button.dataset.label);
    } else if (button?.hasAttribute("data-undo")) {
      this.undo();
    } else if (button?.hasAttribute("data-finish")) {
      this.finish();
    } else if (target.closest("[data-id]")) {
      this.#select(target.closest("[data-id]").dataset.id);
    }
  }

  #layout() {
    return layoutOf(this.items, this.find("grid").clientWidth);
  }

  /** Only the cells that can be seen are there, so that thousands of items cost what a screenful does. */
  #render() {
    const grid = this.find("grid");
    const { width, height, columns, camera } = this.#layout();
    this.find("space").style.height = `${Math.ceil(this.items.length / columns) * height}px`;
    this.find("space").style.setProperty("--camera", `${camera}px`);
    const first = Math.floor(grid.scrollTop / height) * columns;
    const stop = this.isShown ? Math.ceil((grid.scrollTop + grid.clientHeight) / height) * columns : 0;
    const seen = this.items.slice(first, stop);
    const ids = new Set(seen.map(({ id }) => id));
    for (const [id, cell] of this.cells) {
      if (!ids.has(id)) {
        cell.drop();
        this.cells.delete(id);
      }
    }
    seen.forEach((item, i) => {
      const cell = this.cells.get(item.id) ?? this.#cell(item);
      const [row, column] = [Math.floor((first + i) / columns), (first + i) % columns];
      cell.element.style.transform = `translate(${column * width}px, ${row * height}px)`;
      cell.element.setAttribute("aria-selected", String(item.id === this.selected));
      describe(cell.element, cell.text, item);
    });
    this.#progress();
    this.#preview(this.isShown ? this.#item() : undefined);
  }

  #cell(item) {
    const element = document.createElement("div");
    element.className = "sorting-cell";
    element.dataset.id = item.id;
    element.setAttribute("role", "option");
    const row = document.createElement("div");
    const text = document.createElement("span");
    const shown = item.cameras.map((camera) => this.#image(row, item.id, camera));
    element.append(row, text);
    this.find("space").append(element);
    const cell = { element, text, drop: () => [element.remove(), ...shown.map((drop) => drop())] };
    this.cells.set(item.id, cell);
    return cell;
  }

  /** Adds a picture to an element, and returns a function that lets it go. */
  #image(parent, id, camera) {
    const image = document.createElement("img");
    image.alt = camera;
    image.draggable = false;
    parent.append(image);
    return this.pictures.show(image, id, camera);
  }

  #progress() {
    const count = (label) => this.items.filter((item) => item.label === label).length;
    const sorted = this.items.filter((item) => item.is_sorted).length;
    const labels = Object.entries(WORDS).map(([label, words]) => `${count(label)} ${words}`).join(" · ");
    this.find("progress").textContent = this.items.length ? `${sorted} of ${this.items.length} sorted by you · ${labels}` : "no images";
    const mayNot = !this.canSort() || !this.items.length;
    for (const button of this.find("buttons").children) {
      button.disabled = mayNot;
      button.setAttribute("aria-pressed", String(this.#item()?.label === button.dataset.label));
    }
  }

  #preview(item) {
    const key = item ? item.id : "";
    if (key !== this.shownPreview) {
      this.shownPreview = key;
      const drops = this.dropPreview;
      const cameras = this.find("cameras");
      cameras.replaceChildren();
      this.dropPreview = (item?.cameras ?? []).map((camera) => {
        const figure = document.createElement("figure");
        const caption = document.createElement("figcaption");
        caption.textContent = camera;
        cameras.append(figure);
        const drop = this.#image(figure, item.id, camera);
        figure.append(caption);
        return drop;
      });
      drops.forEach((drop) => drop());
    }
    describe(this.find("preview"), this.find("caption"), item ?? { group: "", label: null, note: "" });
  }
}
