// Who acts, and why keys go nowhere: what the page says about the state, without touching the page.

const SILENT = 3000;

/**
 * Who acts, as {label, detail, tone}; the detail says what to do where something is in the way.
 * @param s {model, connection: {state, reason, retryIn}, silence, role, robot, spec, state, actor, isMine}.
 */
export function who(s) {
  const acts = actor(s);
  return { ...acts, detail: advice(s) || acts.detail };
}

function actor(s) {
  if (s.model.complete) {
    return { label: "COMPLETE", detail: "everything is recorded", tone: "policy" };
  }
  if (s.connection.state !== "ready" || s.silence > SILENT) {
    return { label: "NOT CONNECTED", detail: "nothing on this page reaches a robot", tone: "off" };
  }
  if (!s.spec || !s.state) {
    return { label: "NO ROBOT", detail: s.robot ? `${s.robot} is not there` : "none is connected", tone: "off" };
  }
  if (s.state.is_stopped) {
    return { label: "STOPPED", detail: "", tone: "stop" };
  }
  if (s.state.is_paused) {
    return { label: "PAUSED", detail: "", tone: "hold" };
  }
  if (!s.state.may_move) {
    return { label: "PAUSED", detail: "the robot waits for an operator", tone: "hold" };
  }
  if (s.state.asks) {
    return { label: "YOUR TURN", detail: s.state.asks, tone: "hold" };
  }
  if (s.state.hands_off) {
    const detail = s.state.is_running ? "hands off; you may stop" : "between two episodes of an evaluation";
    return { label: "EVALUATION", detail, tone: "policy" };
  }
  if (s.state.recording?.labelling) {
    return { label: "YOUR TURN", detail: "look at the frames; the robot waits", tone: "hold" };
  }
  if (!s.state.is_running) {
    return { label: "RESET", detail: "between two episodes", tone: "hold" };
  }
  if (s.state.is_intervening && s.actor === "hold") {
    return { label: "HOLD", detail: "commands come too late", tone: "hold" };
  }
  const next = s.state.has_policy ? "the policy acts" : "the robot waits";
  if (s.state.is_intervening) {
    return s.isMine
      ? { label: "YOU DRIVE", detail: `let go and ${next}`, tone: "you" }
      : { label: "DRIVEN", detail: "", tone: "other" };
  }
  if (!s.state.has_policy) {
    return { label: "WAITING", detail: "hold the clutch to drive", tone: "hold" };
  }
  return { label: "POLICY ACTS", detail: "hold the clutch to drive", tone: "policy" };
}

/** What lies over the picture while keys go nowhere, as {text, blocks}; null where nothing does. */
export function hint(s) {
  return unreachable(s) ?? unfocused(s) ?? (s.clutch ? useless(s) : null);
}

function unreachable(s) {
  const { state, reason, retryIn } = s.connection;
  const blocks = (text) => ({ text, blocks: true });
  if (s.model.complete) {
    return blocks(s.model.complete);
  }
  if (!s.hasSecret) {
    return blocks("This address has no secret. Open the whole address that the run has printed.");
  }
  if (state === "refused") {
    return blocks(`The hub refuses this page. ${reason} Open the address that the run has printed last.`);
  }
  if (state === "connecting") {
    return blocks("Connecting …");
  }
  if (state === "waiting") {
    return blocks(`Not connected. ${reason}${reason && " "}Next try in ${Math.ceil(retryIn / 1000)} s; click to try now.`);
  }
  if (s.silence > SILENT) {
    return blocks(`Nothing has come from the hub for ${Math.round(s.silence / 1000)} s: keys go nowhere.`);
  }
  return s.spec ? null : blocks(s.robot ? `${s.robot} has left. Its picture is an old one.` : "Waiting for a robot.");
}

function unfocused(s) {
  if (!s.hasFocus) {
    return { text: "This page has no focus: keys go nowhere. Click the picture.", blocks: true };
  }
  return s.isBusy ? { text: "Keys go to the list of robots. Click the picture.", blocks: false } : null;
}

function useless(s) {
  const text = advice(s);
  return text ? { text: s.isMine ? text : `You do not have control. ${text}`, blocks: false } : null;
}

/** What the person does next to drive; empty where nothing is in the way. */
function advice({ connection, state, role, isMine, clutch }) {
  if (connection.state !== "ready" || !state) {
    return "";
  }
  if (state.is_stopped) {
    return isMine ? "Re-arm: Y, with the clutch released." : "Whoever has control may re-arm.";
  }
  if (role === "viewer") {
    return "You may watch, and stop.";
  }
  if (state.asks && (isMine || state.holder === null)) {
    return state.asks;
  }
  if (state.hands_off) {
    return clutch ? "An evaluation is played: hands off; you may stop." : "";
  }
  if (!isMine) {
    return state.holder ? `${state.holder} has control.` : "Take control to drive (Enter).";
  }
  if (state.is_paused) {
    return "Resume: P.";
  }
  return clutch && !state.is_intervening ? "Let go of the clutch, and press it again." : "";
}
