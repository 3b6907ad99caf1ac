// The Drive page: joins the connection, the devices and the view.

import { Connection } from "./connection.js";
import { Control } from "./control.js";
import { takeCredentials } from "./credentials.js";
import { Driver } from "./driver.js";
import { Gamepads } from "./gamepad.js";
import { Keyboard } from "./keyboard.js";
import { Model } from "./model.js";
import { Pictures } from "./pictures.js";
import { story } from "./story.js";
import { Touch } from "./touch.js";
import { View } from "./view.js";

const TICK = 1000 / 30;
const RENDER = 100;
const ROBOT_KEY = "serl-ray-robot";

const find = (id) => document.getElementById(id);
const credentials = takeCredentials();
const model = new Model();
const view = new View();
const pictures = new Pictures(find("picture"), find("camera-name"), find("strip"));
const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const connection = new Connection(url, credentials ?? {}, { changed: connectionChanged, message: received });

const handlers = { act, changed: devicesChanged, help: () => act("help"), mayAct, lost: deviceLost };
const gamepads = new Gamepads(handlers);
const touch = new Touch(find("touch-clutch"), find("touch-move"), handlers);
const driver = new Driver([new Keyboard(handlers), gamepads, touch]);
const control = new Control(model, connection, driver, view);

let hasFocus = document.hasFocus();
// Counts what is watched, so that a picture that is drawn late is not taken for one of the next robot.
let watching = 0;

// ---- what comes from the hub

function connectionChanged() {
  if (!connection.isReady) {
    model.client = null;
    model.robots = {};
    forget();
    driver.release();
  }
  render();
}

function forget() {
  watching += 1;
  model.forget();
  view.clear();
}

function received({ kind, fields, jpegs }) {
  if (kind === "welcome") {
    welcomed(fields);
  } else if (kind === "gone") {
    gone(fields.robot);
  } else if (kind === "refused") {
    view.tell(fields.reason, "refusal", true);
  } else if (fields.robot === model.robot && kind === "state") {
    stateCame(fields.state);
  } else if (fields.robot === model.robot && kind === "frame") {
    frameCame(fields, jpegs);
  }
  render();
}

function welcomed({ client, role, robots }) {
  const before = model.robots;
  Object.assign(model, { client, role, robots });
  const chosen = model.robot ?? sessionStorage.getItem(ROBOT_KEY);
  const name = chosen in robots ? chosen : (model.robot ?? Object.keys(robots).sort()[0]);
  if (name in robots && JSON.stringify(before[name]) !== JSON.stringify(robots[name])) {
    watch(name);
  }
  view.setRobots(Object.keys(robots).sort(), model.robot);
}

function gone(name) {
  delete model.robots[name];
  if (name === model.robot) {
    driver.release();
    forget();
  }
  view.setRobots(Object.keys(model.robots).sort(), model.robot);
  view.tell(`${name} has left.`);
}

function watch(name) {
  if (model.isMine && name !== model.robot) {
    control.release();
    control.press("release");
  }
  model.robot = name;
  sessionStorage.setItem(ROBOT_KEY, name);
  driver.release();
  driver.setView(localStorage.getItem(`serl-ray-view-${name}`) ?? "behind");
  pictures.setCameras(model.spec.cameras);
  view.setRobot(model.spec);
  forget();
  connection.send("watch", { robot: name });
}

function stateCame(state) {
  const before = model.state;
  const wasMine = model.isMine;
  model.setState(state, performance.now());
  if (state.is_stopped) {
    control.stopSent = null;
  }
  if (wasMine && !(model.isMine && state.epoch === before.epoch)) {
    driver.release();
  }
  for (const { text, tone } of before ? story(before, state, model.client) : []) {
    view.tell(text, tone, tone === "refusal" || tone === "stop");
  }
}

async function frameCame({ frame, state, action }, jpegs) {
  const [mine, receivedAt] = [watching, performance.now()];
  stateCame(state);
  model.arrived(frame, receivedAt);
  model.actor = action.actor;
  view.action(action, receivedAt);
  try {
    await pictures.draw(jpegs);
  } catch (error) {
    view.tell(`A picture cannot be shown: ${error.message}`, "refusal", true);
    setTimeout(() => mine === watching && watch(model.robot), 1000);
    return;
  }
  if (mine === watching) {
    const shown = { episode: state.episode, isFirst: action.executed === null };
    model.drawn(frame, shown, receivedAt, performance.now());
    connection.send("displayed", { frame });
    render();
  }
}

// ---- what comes from the devices

function act(name) {
  control.act(name);
  render();
}

function devicesChanged() {
  driver.choose();
  control.command();
  render();
}

function deviceLost() {
  driver.lost();
  control.command();
  view.tell("The gamepad is gone.", "refusal", true);
}

/** Whether a key may act: stop always, the others while nothing else has the keys. */
function mayAct(event) {
  if (event.code === "Escape") {
    return true;
  }
  if (event.code === "Tab" && !(model.spec?.arms > 1)) {
    return false;
  }
  const isHelpKey = event.key === "?" || event.code === "Slash";
  return hasFocus && !isBusy() && (isHelpKey || !find("help").open);
}

function isBusy() {
  return document.activeElement === find("robot");
}

setInterval(() => {
  gamepads.poll(hasFocus && !document.hidden && !isBusy() && !find("help").open);
  driver.choose();
  control.command();
}, TICK);

// ---- the page

function render() {
  const now = performance.now();
  const { state, reason, retryAt } = connection;
  view.render({
    connection: { state, reason, retryIn: Math.max(0, retryAt - now) }, silence: now - connection.heardAt,
    hasSecret: credentials !== null, role: model.role, robot: model.robot, spec: model.spec, state: model.state,
    actor: model.actor, isMine: model.isMine, clutch: driver.clutch, hasFocus, isBusy: isBusy(), model, driver,
  }, now);
}

function letGo() {
  control.release();
  render();
}

addEventListener("blur", () => {
  hasFocus = false;
  letGo();
});
addEventListener("focus", () => {
  hasFocus = true;
  render();
});
addEventListener("pointerdown", () => (hasFocus = document.hasFocus()), true);
addEventListener("pagehide", letGo);
addEventListener("visibilitychange", () => document.hidden && letGo());
addEventListener("contextmenu", (event) => {
  // While a menu is open, nobody tells this page that a key is released.
  event.preventDefault();
  letGo();
});
addEventListener("gamepadconnected", ({ gamepad }) => {
  const isStandard = gamepad.mapping === "standard";
  view.tell(`${gamepad.id}: ${isStandard ? "ready, RB is the clutch." : "no standard mapping, so that it is not used."}`);
});
find("stop").addEventListener("pointerdown", () => act("stop"));
find("robot").addEventListener("focus", letGo);
find("robot").addEventListener("change", (event) => {
  event.target.blur();
  if (event.target.value in model.robots) {
    watch(event.target.value);
  }
});
find("stage").addEventListener("click", () => {
  document.activeElement?.blur();
  if (credentials && ["waiting", "refused"].includes(connection.state)) {
    connection.open();
  }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button) {
    button.blur();
    act(button.dataset.action);
  }
});

setInterval(render, RENDER);
if (credentials) {
  connection.open();
}
