// The tabs of the page. To add one: a <section class="tab" data-tab="NAME"> in index.html, its name in `Tab` of
// serl_ray/teleop/messages.py, a module NAME.js that exports `setUp(page)`, and that function in SET_UPS of main.js.
// A hub says which tabs it offers. `page` is described in main.js. Keys of a tab act while `tabs.current` is its name.

const KEY = "serl-ray-tab";
const DRIVEN = ["drive", "record"];

export class Tabs {
  /** @param nav element of the buttons. @param sections elements of the tabs, named in `data-tab`. */
  constructor(nav, sections) {
    Object.assign(this, { nav, sections });
    this.names = [];
    this.shown = null;
    this.callbacks = [];
    addEventListener("keydown", (event) => this.#key(event));
  }

  /** Name of the tab that is shown; null before the hub has said which there are. */
  get current() {
    return this.shown;
  }

  /** True where a robot is driven, and so the keys, gamepads and sticks act. */
  get isDriven() {
    return this.shown === null || DRIVEN.includes(this.shown);
  }

  /** Calls `shown` whenever the tab comes into view, and `left` whenever it goes out of it. */
  onShow(name, shown, left = () => {}) {
    this.callbacks.push({ name, shown, left });
  }

  /** These tabs are offered from now on; the one that is shown stays so where it is among them. */
  offer(names) {
    if (names.join() === this.names.join()) {
      return;
    }
    this.names = names;
    this.nav.replaceChildren(...names.map((name) => this.#button(name)));
    this.nav.hidden = names.length < 2;
    const chosen = this.shown ?? sessionStorage.getItem(KEY);
    this.show(names.includes(chosen) ? chosen : names[0]);
  }

  show(name) {
    if (!this.names.includes(name)) {
      return;
    }
    const before = this.shown;
    this.shown = name;
    sessionStorage.setItem(KEY, name);
    document.body.dataset.tabShown = name;
    document.title = `${titleOf(name)} · serl_ray`;
    for (const section of this.sections) {
      section.hidden = !section.dataset.tab.split(" ").includes(name);
    }
    for (const button of this.nav.children) {
      button.setAttribute("aria-pressed", String(button.id === `tab-${name}`));
    }
    if (before !== name) {
      this.callbacks.filter((entry) => entry.name === before).forEach(({ left }) => left());
      this.callbacks.filter((entry) => entry.name === name).forEach(({ shown }) => shown());
    }
  }

  #button(name) {
    const button = document.createElement("button");
    button.id = `tab-${name}`;
    button.title = `Alt+${this.names.indexOf(name) + 1}`;
    button.textContent = titleOf(name);
    button.addEventListener("click", () => {
      button.blur();
      this.show(name);
    });
    return button;
  }

  #key(event) {
    const name = this.names[Number(event.code.replace("Digit", "")) - 1];
    if (event.altKey && !event.ctrlKey && !event.metaKey && event.code.startsWith("Digit") && name) {
      event.preventDefault();
      this.show(name);
    }
  }
}

function titleOf(name) {
  return name[0].toUpperCase() + name.slice(1);
}
