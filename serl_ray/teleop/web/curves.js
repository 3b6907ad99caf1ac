// The curves of Drive: what the policy thinks of the last minute, and how the run goes.

import { Chart } from "./chart.js";

const WINDOW = 60_000;
const GAP = 2000;
const COLOURS = { policy: "#6fb4e8", good: "#53c08a", you: "#ff9a3c" };
const NUMBERS = { p: "success_probability", q: "q", "grasp-q": "grasp_q" };
// The curves of a run, in the order of its rows after the env steps.
const OF_RUN = [COLOURS.good, COLOURS.policy, COLOURS.you];

export class Curves {
  /** @param find gives an element by its id. */
  constructor(find) {
    this.charts = Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, new Chart(find(`chart-${name}`))]));
    this.runCharts = [new Chart(find("chart-run")), new Chart(find("chart-fleet"))];
    this.forget();
    this.rows = [];
  }

  /** Another robot is watched. */
  forget() {
    this.samples = [];
  }

  /** A frame has come, with its numbers by name and the actor of its step. */
  add(numbers, actor, now) {
    this.samples = this.samples.filter(([at]) => now - at < WINDOW);
    this.samples.push([now, numbers, actor]);
  }

  setRun({ rows }) {
    this.rows = rows;
  }

  /** @param threshold probability from which the classifier calls it a success; null without a classifier. */
  draw(threshold, now) {
    const spans = this.#spans();
    for (const [name, key] of Object.entries(NUMBERS)) {
      const points = pointsOf(this.samples, key);
      const values = points.map(([, value]) => value).filter((value) => value !== null);
      this.charts[name].draw({
        from: now - WINDOW, to: now, low: Math.min(0, ...values), high: Math.max(1, ...values), spans,
        lines: [{ colour: COLOURS.policy, points }], level: name === "p" ? threshold : null,
        text: this.samples.at(-1)?.[1][key]?.toFixed(2) ?? "–",
      });
    }
    this.runCharts.forEach((chart) => chart.draw(this.#run()));
  }

  /** From and to of every run of steps that a person made. */
  #spans() {
    const spans = [];
    let before = null;
    for (const [at, , actor] of this.samples) {
      if (actor === "person" && before !== null && at - before < GAP) {
        const last = spans.at(-1);
        spans.push(last?.[1] === before ? [spans.pop()[0], at] : [before, at]);
      }
      before = at;
    }
    return spans;
  }

  #run() {
    const { rows } = this;
    const lines = OF_RUN.map((colour, i) => ({ colour, points: rows.map((row) => [row[0], row[i + 1]]) }));
    const text = rows.length ? `${rows.at(-1).slice(1).map(percent).join(" · ")} %` : "–";
    return { from: rows[0]?.[0] ?? 0, to: rows.at(-1)?.[0] ?? 1, low: 0, high: 1, lines, text };
  }
}

/** The points of one number, interrupted where it or its frames are missing. */
function pointsOf(samples, key) {
  return samples.flatMap(([at, numbers], i) => {
    const gap = i > 0 && at - samples[i - 1][0] > GAP ? [[at, null]] : [];
    return [...gap, [at, numbers[key] ?? null]];
  });
}

function percent(value) {
  return value === null ? "–" : `${Math.round(100 * value)}`;
}
