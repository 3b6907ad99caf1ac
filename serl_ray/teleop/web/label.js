// The Label tab: the frames of an episode that has been driven, with the labels of the success key, to be corrected.

import { SortingApi } from "./sorting_api.js";
import { SortingGrid } from "./sorting.js";

const find = (id) => document.getElementById(id);

export function setUp({ model, hear, tabs, control, credentials, mayUseKeys }) {
  const isMine = () => model.isMine;
  const mayAct = (event) => mayUseKeys() && event.code !== "Escape";
  const grid = new SortingGrid(find("label-grid"), new SortingApi(credentials?.secret ?? ""), { mayAct, canSort: isMine });
  let labelling = null;
  let wasMine = false;
  tabs.onShow("label", () => grid.show(), () => grid.hide());
  hear("state", ({ fields }) => fields.robot === model.robot && show(fields.state));
  hear("frame", ({ fields }) => fields.robot === model.robot && show(fields.state));
  addEventListener("keydown", (event) => {
    if (event.code === "Backspace" && !event.repeat && tabs.current === "label" && labelling && mayUseKeys()) {
      event.preventDefault();
      control.act("discard");
    }
  });

  /** An episode that has ended brings its frames into view; once it is stored or discarded, the robot is driven again. */
  function show({ recording, is_marking: isMarking }) {
    if (isMarking && isMine() && !wasMine) {
      control.letGo("success");  // somebody held the key, and is gone
    }
    wasMine = isMine();
    const name = recording?.labelling ?? null;
    find("label-discard").disabled = !name || !isMine();
    if (!recording?.images || name === labelling) {
      return;
    }
    labelling = name;
    tabs.show(name ? "label" : "record");
    grid.refresh();
  }
}
