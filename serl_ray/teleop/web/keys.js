// The keys, by their place on the keyboard (`event.code`). None that moves lies beside one that ends an episode.

export const CLUTCH = "Space";

// Axis of the twist and direction.
export const MOTION = {
  ArrowUp: [0, 1], ArrowDown: [0, -1], ArrowLeft: [1, 1], ArrowRight: [1, -1],
  KeyW: [2, 1], KeyQ: [2, -1], PageUp: [2, 1], PageDown: [2, -1],
  KeyO: [3, 1], KeyU: [3, -1], KeyI: [4, 1], KeyK: [4, -1], KeyJ: [5, 1], KeyL: [5, -1],
};

// Names of actions, which main.js carries out.
export const ACTIONS = {
  KeyS: "success", KeyF: "failure", KeyV: "veto", KeyP: "pause", KeyR: "reset", Backspace: "discard",
  KeyG: "close", KeyH: "open", Enter: "enter", KeyY: "rearm", KeyN: "keep", Tab: "arm",
  Digit1: "speed-25", Digit2: "speed-50", Digit3: "speed-100",
};

export const STOP = "Escape";
export const STOP_WITHIN = 600;

export const HELP = [
  ["Driving", [
    ["Space", "Clutch: the robot follows you while you hold it, and the policy goes on when you let go."],
    ["↑ ↓ ← →", "Move forward, back, left, right."],
    ["W  Q", "Move up, down. Page Up and Page Down do the same."],
    ["J  L", "Turn left, right."],
    ["I  K", "Tilt forward, back."],
    ["U  O", "Roll left, right."],
    ["G  H", "Close, open the gripper: one press each, while the clutch is held."],
    ["1  2  3", "Speed 25, 50, 100 %."],
    ["Tab", "The other arm, where there are two; an arm that is not chosen holds."],
  ]],
  ["The episode", [
    ["S  F", "Success, failure. Both end the episode at the picture you see."],
    ["V", "Veto: the classifier's success was none."],
    ["R", "Reset: end the episode here, without a label."],
    ["Backspace", "Discard the episode."],
    ["Enter", "Where the robot waits for the scene to be put in order: it is, and the next episode begins."],
    ["N", "In a recording: keep the episode that has ended, as driving on does."],
    ["P", "Pause, and resume."],
  ]],
  ["Control", [
    ["Enter", "Take control of the robot, or give it back."],
    ["Esc Esc", "Stop. Anybody may."],
    ["Y", "Re-arm after a stop, with control and with the clutch released."],
    ["Alt 1  2 …", "The tabs. A robot is driven from its own tab alone; a stop counts in all."],
    ["?", "This help."],
  ]],
  ["Gamepad", [
    ["RB", "Clutch."],
    ["Sticks", "Left: move. Right: turn and tilt."],
    ["RT  LT", "Up, down, as the cross does; left and right on the cross roll."],
    ["A  B", "Success, failure."],
    ["X  Y", "Close, open the gripper."],
    ["LB", "The other arm."],
    ["Back", "Take control, or give it back."],
    ["Start", "Pause, and resume."],
  ]],
  ["SpaceMouse", [
    ["Connect", "In Chrome and Edge, on localhost or https; the button is not there on other pages."],
    ["Cap", "Moving it is the clutch; half a second of rest hands back."],
    ["Left  Right", "Close, open the gripper."],
  ]],
];
