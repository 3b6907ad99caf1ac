// The page: joins the connection, the devices, the tabs and the view.

import { Connection } from "./connection.js";
import { Control } from "./control.js";
import { takeCredentials } from "./credentials.js";
import { Curves } from "./curves.js";
import { Driver } from "./driver.js";
import { setUp as setUpFleet } from "./fleet.js";
import { Gamepads } from "./gamepad.js";
import { Keyboard } from "./keyboard.js";
import { setUp as setUpLabel } from "./label.js";
import { Model } from "./model.js";
import { Pictures } from "./pictures.js";
import { setUp as setUpRecord } from "./record.js";
import { setUp as setUpReview } from "./review.js";
import { SpaceMouse } from "./spacemouse.js";
import { Tabs } from "./tabs.js";
import { Touch } from "./touch.js";
import { View } from "./view.js";
import { Watched } from "./watched.js";

const TICK = 1000 / 30;
const RENDER = 100;
const CURVES = 200;
// `setUp` of every tab beside Drive, which is this page without more.
const SET_UPS = [setUpRecord, setUpLabel, setUpFleet, setUpReview];

const find = (id) => document.getElementById(id);
const credentials = takeCredentials();
const model = new Model();
const view = new View();
const tabs = new Tabs(find("tabs"), document.querySelectorAll(".tab"));
const pictures = new Pictures(find("picture"), find("camera-name"), find("strip"));
const url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`;
const connection = new Connection(url, credentials ?? {}, { changed: connectionChanged, message: received });

const letGoOf = (name) => control.letGo(name);
const handlers = { act, letGo: letGoOf, changed: devicesChanged, help: () => act("help"), mayAct, lost: deviceLost, tell };
const gamepads = new Gamepads(handlers);
const spaceMouse = new SpaceMouse(handlers);
const touch = new Touch(find("touch-clutch"), find("touch-move"), handlers);
const driver = new Driver([new Keyboard(handlers), gamepads, spaceMouse, touch]);
const control = new Control(model, connection, driver, view);
const curves = new Curves(find);
const watched = new Watched({ model, view, curves, pictures, connection, driver, control });

let hasFocus = document.hasFocus();
// Callbacks of the tabs by the kind of message that they hear.
const listeners = {};

// ---- the tabs

// What a tab gets: `tabs`; `connection`, whose `send` goes to the hub; `credentials` ({secret, role} or null), for its
// HTTP routes; `control`, for presses; `mayUseKeys()`: whether nothing else has them; `model` and `view`; `watch(name)`
// of a robot; `hear(kind, callback)` for the hub's messages of a kind, each as {fields, arrays, jpegs}. A `welcome` is
// heard after every connection and every change of the robots.
const mayUseKeys = () => hasFocus && !isBusy() && !find("help").open;
const page = { tabs, connection, control, credentials, model, view, watch: (name) => watched.watch(name), hear, mayUseKeys };
SET_UPS.forEach((setUp) => setUp(page));
["drive", "record"].forEach((name) => tabs.onShow(name, () => {}, letGo));

function hear(kind, callback) {
  (listeners[kind] ??= []).push(callback);
}

// ---- what comes from the hub

function connectionChanged() {
  if (!connection.isReady) {
    model.client = null;
    model.robots = {};
    watched.forget();
    driver.release();
  }
  render();
}

function received(message) {
  const { kind, fields, jpegs } = message;
  const isWatched = fields.robot === model.robot;
  if (kind === "welcome") {
    welcomed(fields);
  } else if (kind === "gone") {
    watched.gone(fields.robot);
  } else if (kind === "refused") {
    view.tell(fields.reason, "refusal", true);
  } else if (kind === "run") {
    curves.setRun(fields);
  } else if (kind === "state" && isWatched) {
    watched.stateCame(fields.state);
  } else if (kind === "frame" && isWatched) {
    watched.frameCame(fields, jpegs).then((isDrawn) => isDrawn && render());
  }
  listeners[kind]?.forEach((callback) => callback(message));
  render();
}

function welcomed({ client, role, robots, tabs: names }) {
  Object.assign(model, { client, role });
  watched.setRobots(robots);
  tabs.offer(names);
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

function deviceLost(what) {
  driver.lost();
  control.command();
  view.tell(`The ${what} is gone.`, "refusal", true);
}

function tell(text) {
  view.tell(text);
}

/** Whether a key may act: where a robot is driven and nothing else has the keys. */
function mayAct(event) {
  if (event.code === "Tab" && !(model.spec?.arms > 1)) {
    return false;
  }
  const isHelpKey = event.key === "?" || event.code === "Slash";
  return hasFocus && tabs.isDriven && !isBusy() && (isHelpKey || !find("help").open);
}

function isBusy() {
  return document.activeElement === find("robot");
}

setInterval(() => {
  const isHeard = hasFocus && tabs.isDriven && !document.hidden && !isBusy() && !find("help").open;
  gamepads.poll(isHeard);
  spaceMouse.poll(isHeard);
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
    actor: model.actor, isMine: model.isMine, clutch: driver.clutch, hasFocus, isDriven: tabs.isDriven, isBusy: isBusy(), model, driver,
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
  // While a menu is open, nobody tells this page that a key is released. A phone asks for one when a thumb rests.
  event.preventDefault();
  if (!event.target.closest(".touch")) {
    letGo();
  }
});
addEventListener("gamepadconnected", ({ gamepad }) => {
  const isStandard = gamepad.mapping === "standard";
  view.tell(`${gamepad.id}: ${isStandard ? "ready, RB is the clutch." : "no standard mapping, so that it is not used."}`);
});
find("spacemouse-row").hidden = !spaceMouse.isPossible;
find("spacemouse").addEventListener("click", (event) => {
  event.target.blur();
  spaceMouse.connect();
});
find("stop").addEventListener("pointerdown", () => act("stop"));
find("robot").addEventListener("focus", letGo);
find("robot").addEventListener("change", (event) => {
  event.target.blur();
  if (event.target.value in model.robots) {
    watched.watch(event.target.value);
  }
});
find("stage").addEventListener("click", () => {
  document.activeElement?.blur();
  if (credentials && ["waiting", "refused"].includes(connection.state)) {
    connection.open();
  }
});
// A button that marks pictures is held like its key.
document.addEventListener("pointerdown", (event) => {
  if (control.isMarked && event.target.closest('[data-action="success"]')) {
    act("success");
    addEventListener("pointerup", () => control.letGo("success"), { once: true });
    addEventListener("pointercancel", () => control.letGo("success"), { once: true });
  }
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-action]");
  if (button && !(control.isMarked && button.dataset.action === "success")) {
    button.blur();
    act(button.dataset.action);
  }
});

setInterval(render, RENDER);
setInterval(() => curves.draw(model.spec?.success_threshold ?? null, performance.now()), CURVES);
if (credentials) {
  connection.open();
}
