// What has happened between two states of a robot, in plain words.

const LABELS = { successes: "Success", failures: "Failure", vetoes: "Veto: no success", discards: "Discarded" };

/** Sentences with a tone, as [{text, tone}], oldest first. */
export function story(before, after, me) {
  const told = [];
  const tell = (text, tone = "") => told.push({ text, tone });
  const grown = (name) => (after.counts[name] ?? 0) - (before.counts[name] ?? 0);
  if (before.holder !== after.holder || before.epoch !== after.epoch) {
    tell(controlText(before, after, me));
  }
  if (before.is_stopped !== after.is_stopped) {
    tell(after.is_stopped ? "Stopped." : "Re-armed: the robot may move.", after.is_stopped ? "stop" : "");
  }
  if (grown("losses") > 0) {
    tell("No command for 2 s: the episode was cut off, and the robot paused.", "stop");
  } else if (before.is_paused !== after.is_paused) {
    tell(after.is_paused ? "Paused." : "Resumed.");
  }
  if (before.is_intervening !== after.is_intervening) {
    tell(actingText(after, me), after.is_intervening && after.holder === me ? "you" : "");
  }
  for (const [name, label] of Object.entries(LABELS)) {
    if (grown(name) > 0) {
      tell(`${label}.`, name === "successes" ? "good" : "");
    }
  }
  if (before.is_running && (!after.is_running || after.episode !== before.episode)) {
    tell(`Episode ${before.episode} has ended.`, "quiet");
  }
  const refused = Math.min(grown("refused"), after.refusals.length);
  for (const refusal of refused > 0 ? after.refusals.slice(-refused) : []) {
    tell(refusal[0].toUpperCase() + refusal.slice(1), "refusal");
  }
  return told;
}

function controlText(before, after, me) {
  if (after.holder === me) {
    return "You have control.";
  }
  if (after.holder !== null) {
    return before.holder === me ? `${after.holder} has taken control from you.` : `${after.holder} has control.`;
  }
  return before.holder === me ? "You have control no more." : "Nobody has control.";
}

function actingText(after, me) {
  if (after.is_intervening) {
    return after.holder === me ? "You drive." : `${after.holder} drives.`;
  }
  return after.has_policy && after.may_move && after.is_running ? "The policy acts again." : "Nobody drives any more.";
}
