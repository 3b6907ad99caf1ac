// The Review tab: what the reward classifier called a success, to be sorted.

import { SortingGrid } from "./sorting.js";
import { SortingApi } from "./sorting_api.js";

export function setUp({ tabs, credentials, model, hear }) {
  const [help, robot] = ["help", "robot"].map((id) => document.getElementById(id));
  const grid = new SortingGrid(document.querySelector('[data-tab="review"]'), new SortingApi(credentials?.secret), {
    mayAct: () => !help.open && document.activeElement !== robot,
    canSort: () => model.role === "operator",
  });
  tabs.onShow("review", () => grid.show(), () => grid.hide());
  // `serl review` has no robots.
  hear("welcome", ({ fields }) => document.body.classList.toggle("without-robots", fields.tabs.join() === "review"));
}
