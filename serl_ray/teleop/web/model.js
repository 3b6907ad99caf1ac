// What this page knows: the robots, the watched one's state, and its newest picture.

const RATE_WINDOW = 3000;
const RATE_LEAST = 500;
const AGE_WINDOW = 1000;

export class Model {
  client = null;
  role = "viewer";
  robots = {};
  robot = null;
  // What to say where a recording is complete, and its command has ended; null before.
  complete = null;

  constructor() {
    this.forget();
  }

  /** Forgets the watched robot's state and pictures: nothing of before a reconnect or another robot counts. */
  forget() {
    this.state = this.stateAt = this.actor = null;
    this.displayed = this.receivedAt = this.shown = null;
    this.numbers = {};
    this.loops = [];
    this.arrivals = [];
    this.ages = [];
  }

  get spec() {
    return this.robots[this.robot] ?? null;
  }

  get isMine() {
    return this.client !== null && this.state !== null && this.state.holder === this.client;
  }

  /** True where the robot waits for the scene to be put in order, and this page may say that it is. */
  get mayBeReady() {
    return Boolean(this.state?.asks) && this.role !== "viewer" && (this.isMine || this.state.holder === null);
  }

  setState(state, now) {
    this.state = state;
    this.stateAt = now;
  }

  arrived(frame, now) {
    this.arrivals = this.arrivals.filter(([at]) => now - at < RATE_WINDOW);
    this.arrivals.push([now, frame]);
  }

  /** Who made a step, and its numbers by name. */
  heard(actor, numbers, now) {
    this.actor = actor;
    this.numbers = numbers;
    if (numbers.loop_age !== undefined) {
      this.loops.push([now, 1000 * numbers.loop_age]);
    }
    this.loops = this.loops.filter(([at]) => now - at < AGE_WINDOW);
  }

  /** The greatest age that a frame had when a person's action on it was executed, within the last second, in ms. */
  loopAge(now) {
    const recent = this.loops.filter(([at]) => now - at < AGE_WINDOW).map(([, age]) => age);
    return recent.length ? Math.max(...recent) : null;
  }

  /** A frame that came at `receivedAt` has been drawn; `shown` is its {episode, isFirst, isLive}. */
  drawn(frame, shown, receivedAt, now) {
    if (this.receivedAt !== null) {
      this.ages.push([now, now - this.receivedAt]);
    }
    this.ages = this.ages.filter(([at]) => now - at < AGE_WINDOW);
    this.displayed = frame;
    this.shown = shown;
    this.receivedAt = receivedAt;
  }

  /** The greatest age that the picture has had within the last second, in ms: a number that stands still. */
  age(now) {
    if (this.receivedAt === null) {
      return null;
    }
    const recent = this.ages.filter(([at]) => now - at < AGE_WINDOW).map(([, age]) => age);
    return Math.max(now - this.receivedAt, ...recent);
  }

  /** Frames of the robot in a second, by their numbers: those that did not reach this page count as well. */
  rate(now) {
    const recent = this.arrivals.filter(([at]) => now - at < RATE_WINDOW);
    if (recent.length < 2) {
      return null;
    }
    const [[firstAt, first], [lastAt, last]] = [recent[0], recent.at(-1)];
    // Frames that had waited for the page come all at once, and say nothing of the robot's rate.
    const isKnown = lastAt - firstAt > RATE_LEAST && now - lastAt <= 1500;
    return !isKnown ? null : (1000 * (last - first)) / (lastAt - firstAt);
  }

  /** Seconds for which a press still labels the episode that has ended; 0 where it would label the running one. */
  held(now) {
    const isOfNewest = this.shown?.episode === this.state?.episode && !this.shown?.isFirst;
    if (!this.state || (this.state.is_running && isOfNewest)) {
      return 0;
    }
    return Math.max(0, this.state.held_seconds - (now - this.stateAt) / 1000);
  }
}
