// The page's texts and lamps. Every box keeps its size, and a text is written only where it has changed.

import { HELP } from "./keys.js";
import { labelsOf, TOOL, VIEWS } from "./layout.js";
import { hint, who } from "./status.js";

const EVENTS = 40;
const NOTICE_MS = 4000;
const GRIP_MS = 600;
const OLD_MS = 500;

const find = (id) => document.getElementById(id);

function write(id, text) {
  const element = find(id);
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function show(id, text) {
  find(id).hidden = !text;
  if (text) {
    write(id, text);
  }
}

export class View {
  constructor() {
    this.noticeUntil = 0;
    this.setRobot(null);
    find("help-keys").replaceChildren(...HELP.map(([title, lines]) => helpSection(title, lines)));
  }

  setRobots(names, chosen) {
    const options = names.map((name) => new Option(name, name, false, name === chosen));
    if (chosen && !names.includes(chosen)) {
      options.push(new Option(`${chosen} (gone)`, chosen, true, true));
    }
    find("robot").replaceChildren(...(options.length ? options : [new Option("no robot", "")]));
  }

  setRobot(robot) {
    const labels = robot ? labelsOf(robot) : [];
    this.robot = robot;
    this.grips = (robot?.grippers ?? []).map(() => ({ direction: 0, until: 0 }));
    find("action-card").classList.toggle("two", robot?.arms > 1);
    find("bars").style.gridTemplateRows = robot?.arms > 1 ? `repeat(${labels.length / 2}, auto)` : "";
    this.bars = labels.map(bar);
    find("bars").replaceChildren(...this.bars.map(({ element }) => element));
    this.grippers = (robot?.grippers ?? []).map((index) => gripper(labels[index]));
    find("grippers").replaceChildren(...this.grippers.map(({ element }) => element));
    find("arm-row").hidden = find("touch-arm").hidden = !(robot?.arms > 1);
    find("view-tool").hidden = !robot?.references.includes(TOOL);
    find("key-close").disabled = find("key-open").disabled = !robot?.grippers.length;
  }

  /** An event in plain words; with `isNotice` also over the picture for some seconds. */
  tell(text, tone = "", isNotice = false) {
    const row = document.createElement("li");
    const time = document.createElement("time");
    const words = document.createElement("span");
    time.textContent = new Date().toTimeString().slice(0, 8);
    words.textContent = text;
    words.className = tone;
    row.append(time, words);
    find("events").prepend(row);
    while (find("events").children.length > EVENTS) {
      find("events").lastChild.remove();
    }
    if (isNotice) {
      write("notice", text);
      this.noticeUntil = performance.now() + NOTICE_MS;
    }
  }

  /** Takes the last action away: nothing acts that this page knows of. */
  clear() {
    if (this.robot) {
      this.action({ actor: "nobody", executed: null, policy: null }, 0);
    }
  }

  flash(id) {
    const chip = find(id);
    chip?.classList.add("flash");
    setTimeout(() => chip?.classList.remove("flash"), 200);
  }

  /** The action of a step; there is none after a reset, and may be none of a policy. */
  action({ actor, executed, policy }, now) {
    find("bars").dataset.actor = actor;
    this.bars.forEach(({ done, wanted, output }, i) => {
      done.style.transform = `scaleX(${executed?.[i] ?? 0})`;
      wanted.hidden = !policy;
      wanted.style.left = `${50 + 49 * (policy?.[i] ?? 0)}%`;
      output.textContent = executed ? executed[i].toFixed(2) : "";
    });
    this.robot.grippers.forEach((index, i) => {
      if (Math.abs(executed?.[index]) > 0.5) {
        this.grips[i] = { direction: Math.sign(executed[index]), until: now + GRIP_MS };
      }
    });
  }

  /** Everything that changes with time. `s` is what status.js describes, with `model` and `driver` beside it. */
  render(s, now) {
    const { model, driver } = s;
    const acts = who(s);
    document.body.dataset.tone = acts.tone;
    write("who-label", acts.label);
    write("who-detail", s.isDriven || !s.robot ? acts.detail : `${s.robot}: keys reach it from its own tab alone`);
    write("episode", s.state ? `${s.state.episode}` : "–");
    write("step", s.state ? `${s.state.step}` : "–");
    write("rate", model.rate(now)?.toFixed(1) ?? "–");
    this.#stage(s, now);
    this.#control(s);
    this.#device(driver, s);
    this.grippers.forEach(({ lamps }, i) => {
      const direction = now < this.grips[i].until ? this.grips[i].direction : 0;
      lamps.forEach((lamp, j) => lamp.classList.toggle("on", j - 1 === direction));
    });
  }

  #stage(s, now) {
    const says = hint(s);
    show("hint", says?.text);
    find("stage").classList.toggle("dim", Boolean(says?.blocks));
    show("notice", now < this.noticeUntil ? find("notice").textContent : "");
    const held = s.model.held(now);
    const isLabelled = ["success", "failure", "veto", "discard"].includes(s.state?.held_verdict);
    const ended = isLabelled ? `Episode ended (${s.state.held_verdict}): change it,` : "Episode ended: label it,";
    show("countdown", held > 0 ? `${ended} ${held.toFixed(1)} s` : "");
    find("asks").hidden = !(s.state?.asks && s.state.may_move);
    write("asks-text", s.state?.asks ?? "");
    find("asks-ready").disabled = !s.model.mayBeReady;
    const age = s.model.age(now);
    const loop = s.model.loopAge(now);
    const aged = loop === null ? "" : ` (loop ${Math.round(loop)})`;
    const live = s.model.shown?.isLive ? "live · " : "";
    write("age", age === null ? "no picture" : age < 10_000 ? `${live}picture ≤ ${Math.round(age)} ms old${aged}` : "old picture");
    this.#opinion(s.model.numbers);
    const isExpected = ["hold", "stop"].includes(document.body.dataset.tone);
    find("age").dataset.old = String(age > OLD_MS && !isExpected);
  }

  #opinion({ operator_share: share, success_probability: probability, q }) {
    const percent = `${Math.round(100 * (share ?? 0))} %`;
    write("share", `${percent} of this episode yours`);
    const numbers = [["p", probability], ["Q", q]].filter(([, value]) => value !== undefined);
    write("opinion", [`${percent} yours`, ...numbers.map(([name, value]) => `${name} ${value.toFixed(2)}`)].join(" · "));
  }

  #control(s) {
    const holder = s.state?.holder ?? null;
    write("holder", s.isMine ? "you" : (holder ?? "nobody"));
    for (const button of document.querySelectorAll(".control")) {
      const text = s.isMine ? "Give it back" : "Take control";
      if (button.textContent !== text) {
        button.textContent = text;
      }
      button.dataset.mine = String(s.isMine);
      button.disabled = s.role === "viewer" || !s.state;
    }
    write("pause-label", s.state?.is_paused ? "resume" : "pause");
    write("touch-pause", s.state?.is_paused ? "resume" : "pause");
    find("key-rearm").disabled = find("touch-rearm").disabled = !s.state?.is_stopped;
  }

  #device(driver, { isMine, state }) {
    const drives = isMine && state.is_intervening;
    write("device", driver.active.name || driver.active.source);
    write("clutch", driver.clutch ? (drives ? "CLUTCH HELD" : "held: no effect") : "clutch released");
    for (const id of ["clutch", "key-clutch"]) {
      find(id).dataset.held = driver.clutch ? (drives ? "true" : "vain") : "false";
    }
    for (const percent of [25, 50, 100]) {
      find(`speed-${percent}`).setAttribute("aria-pressed", String(percent === 100 * driver.speed));
    }
    for (const arm of [0, 1]) {
      find(`arm-${arm}`).setAttribute("aria-pressed", String(arm === driver.arm));
    }
    for (const view of VIEWS) {
      find(`view-${view}`).setAttribute("aria-pressed", String(view === driver.view));
    }
    write("touch-speed", `${100 * driver.speed} %`);
    write("touch-arm", driver.arm ? "right arm" : "left arm");
  }
}

function bar(label) {
  const element = document.createElement("div");
  element.className = "bar";
  const name = document.createElement("span");
  name.textContent = label;
  const track = document.createElement("div");
  track.className = "track";
  const [done, wanted] = [document.createElement("i"), document.createElement("i")];
  done.className = "done";
  wanted.className = "wanted";
  wanted.hidden = true;
  track.append(done, wanted);
  const output = document.createElement("output");
  element.append(name, track, output);
  return { element, done, wanted, output };
}

function gripper(label) {
  const element = document.createElement("div");
  element.className = "gripper";
  const spans = [label, "close", "hold", "open"].map((text) => {
    const span = document.createElement("span");
    span.textContent = text;
    return span;
  });
  element.append(...spans);
  return { element, lamps: spans.slice(1) };
}

function helpSection(title, lines) {
  const section = document.createElement("section");
  const heading = document.createElement("h2");
  heading.textContent = title;
  section.append(heading, ...lines.map(([keys, text]) => {
    const row = document.createElement("div");
    const [key, words] = [document.createElement("kbd"), document.createElement("span")];
    key.textContent = keys;
    words.textContent = text;
    row.append(key, words);
    return row;
  }));
  return section;
}
