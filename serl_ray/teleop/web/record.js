// The Record tab: the Drive page with the progress of a recording, and the pictures of the episode that has ended.

import { Replay } from "./replay.js";

const find = (id) => document.getElementById(id);

/** What becomes of the episode that waits for a decision, as {isKept, why}. */
export function fate({ held_verdict: verdict, recording }) {
  if (verdict === "success" || (verdict === null && recording.ended?.success)) {
    return { isKept: true, why: verdict ? "called a success" : "a success" };
  }
  const words = { failure: "called a failure", veto: "vetoed", discard: "discarded", reset: "reset", stop: "stopped", lost: "lost" };
  return { isKept: false, why: words[verdict] ?? "no success" };
}

/** The reasons for which episodes were dropped, in words: `2 failed, 1 discarded`. */
export function droppedText(dropped = {}) {
  return Object.entries(dropped).map(([reason, count]) => `${count} ${reason}`).join(", ");
}

export function setUp({ model, view, hear, tabs }) {
  const replay = new Replay(find("replay-strip"), find("picture"), find("camera-name"));
  let before = {};
  hear("frame", ({ fields, jpegs }) => {
    if (fields.robot === model.robot) {
      if (!fields.is_live) {
        replay.add(fields, jpegs);
      }
      show(fields.state);
    }
  });
  hear("state", ({ fields }) => fields.robot === model.robot && show(fields.state));
  hear("gone", ({ fields }) => fields.robot === model.robot && replay.clear());

  function show(state) {
    const { recording } = state;
    document.body.classList.toggle("recording", Boolean(recording));
    document.body.dataset.recording = recording ? (recording.images ? "images" : "demonstrations") : "";
    if (!recording) {
      model.complete = null;
      before = {};
      return;
    }
    tell(recording);
    showCard(state);
    const waits = !recording.images && state.held_episode !== null && state.held_episode === recording.ended?.episode;
    find("replay").hidden = !waits;
    if (waits) {
      replay.show();
      showFate(state);
    }
    before = recording;
  }

  function tell(recording) {
    if (recording.kept > (before.kept ?? recording.kept)) {
      view.tell(`Stored: ${recording.kept} of ${recording.wanted}.`, "good");
    }
    for (const [reason, count] of Object.entries(recording.dropped ?? {})) {
      if (count > (before.dropped?.[reason] ?? 0) && before.wanted) {
        view.tell(`Not recorded: ${reason}.`, "quiet");
      }
    }
    const { kept, wanted, target } = recording;
    model.complete = kept < wanted ? null : `The recording is complete: ${kept} episodes in ${target}. The command has ended.`;
    if (model.complete) {
      tabs.show("record");
    }
  }
}

function write(id, text) {
  const element = find(id);
  if (element.textContent !== text) {
    element.textContent = text;
  }
}

function showCard({ recording, is_marking: isMarking }) {
  const { kept, wanted, target, images, dropped } = recording;
  write("recording-kept", `${kept} of ${wanted}`);
  find("recording-bar").style.transform = `scaleX(${Math.min(1, kept / wanted)})`;
  write("recording-images", images ? `${images.success ?? 0} success, ${images.failure ?? 0} failure images` : "episodes kept");
  write("recording-dropped", droppedText(dropped) ? `not recorded: ${droppedText(dropped)}` : "nothing dropped");
  write("recording-target", `into ${target}`);
  find("recording-card").dataset.marking = String(Boolean(isMarking));
}

function showFate(state) {
  const { isKept, why } = fate(state);
  const { episode, steps } = state.recording.ended ?? {};
  find("replay").dataset.kept = String(isKept);
  const isLast = isKept && state.recording.kept + 1 >= state.recording.wanted;
  const driving = isLast ? "Keep it, and the recording is complete" : `Drive on and it is ${isKept ? "kept" : "dropped"}`;
  write("replay-text", `Episode ${episode}, ${steps} steps: ${why}. ${driving}.`);
  write("replay-keep-word", isKept ? "keep" : "drop");
  find("replay-discard").hidden = !isKept;
  find("replay-success").hidden = isKept;
}
