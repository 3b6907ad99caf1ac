// The robot that this page watches: which one it is, what comes from it, and what is told of it.

import { viewFor } from "./layout.js";
import { story } from "./story.js";

const ROBOT_KEY = "serl-ray-robot";
const SHOWN_AGAIN = 1000;

export class Watched {
  constructor({ model, view, curves, pictures, connection, driver, control }) {
    Object.assign(this, { model, view, curves, pictures, connection, driver, control });
    // Counts what is watched, so that a picture that is drawn late is not taken for one of the next robot.
    this.watching = 0;
  }

  forget() {
    this.watching += 1;
    this.model.forget();
    this.view.clear();
    this.curves.forget();
  }

  /** The robots that are there; one is watched, the one of before where it has come back, and no evaluation unasked. */
  setRobots(robots) {
    const { model, view } = this;
    const before = model.robots;
    model.robots = robots;
    const chosen = model.robot ?? sessionStorage.getItem(ROBOT_KEY);
    const first = Object.keys(robots).filter((name) => !robots[name].hands_off).sort()[0];
    const name = chosen in robots ? chosen : (model.robot ?? first);
    if (name in robots && JSON.stringify(before[name]) !== JSON.stringify(robots[name])) {
      this.watch(name);
    }
    view.setRobots(Object.keys(robots).sort(), model.robot);
  }

  gone(name) {
    const { model, view } = this;
    delete model.robots[name];
    if (name === model.robot) {
      this.driver.release();
      this.forget();
    }
    view.setRobots(Object.keys(model.robots).sort(), model.robot);
    view.tell(`${name} has left.`);
  }

  watch(name) {
    const { model, view, driver, control } = this;
    if (model.isMine && name !== model.robot) {
      control.release();
      control.press("release");
    }
    model.robot = name;
    sessionStorage.setItem(ROBOT_KEY, name);
    driver.release();
    driver.setView(viewFor(model.spec, localStorage.getItem(`serl-ray-view-${name}`) ?? model.spec.seen_from));
    this.pictures.setCameras(model.spec.cameras);
    view.setRobots(Object.keys(model.robots).sort(), name);
    view.setRobot(model.spec);
    this.forget();
    this.connection.send("watch", { robot: name });
  }

  stateCame(state) {
    const { model, view, driver, control } = this;
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

  /** Shows a frame; a promise of whether it has been drawn. */
  async frameCame({ frame, is_live: isLive, state, action, numbers }, jpegs) {
    const { model, view } = this;
    const [mine, receivedAt] = [this.watching, performance.now()];
    this.stateCame(state);
    if (!isLive) {
      // A live frame shows the robot after the step that all else is about.
      model.arrived(frame, receivedAt);
      model.heard(action.actor, numbers, receivedAt);
      this.curves.add(numbers, action.actor, receivedAt);
      view.action(action, receivedAt);
    }
    try {
      await this.pictures.draw(jpegs);
    } catch (error) {
      view.tell(`A picture cannot be shown: ${error.message}`, "refusal", true);
      setTimeout(() => mine === this.watching && this.watch(model.robot), SHOWN_AGAIN);
      return false;
    }
    if (mine !== this.watching) {
      return false;
    }
    const shown = { episode: state.episode, isFirst: action.executed === null, isLive };
    model.drawn(frame, shown, receivedAt, performance.now());
    this.connection.send("displayed", { frame });
    return true;
  }
}
