// The numbers of an action: which of them belong to an arm, and what they are called; and twists.
// serl_ray/teleop/twists.py makes an action of a twist.

// A twist is [x forward, y left, z up, roll, pitch, yaw], each in [-1, 1].
export const AXES = ["x", "y", "z", "roll", "pitch", "yaw"];
export const ARMS = ["left", "right"];
// The sides from which a person may look at the robot, and the tool itself, which is no side of the base.
export const VIEWS = ["behind", "left", "front", "right", "tool"];
export const TOOL = "tool";

/** The view where a robot understands it, and else the first one. */
export function viewFor(robot, view) {
  const isKnown = VIEWS.includes(view) && (view !== TOOL || robot.references.includes(TOOL));
  return isKnown ? view : VIEWS[0];
}

/** The indices of an arm's numbers, without its gripper. */
export function armIndices(robot, arm) {
  const perArm = robot.action_dim / robot.arms;
  const indices = Array.from({ length: perArm }, (_, i) => arm * perArm + i);
  return indices.filter((index) => !robot.grippers.includes(index));
}

/** The axes of a twist that an arm with so many numbers has: the fourth of four is the yaw. */
function axesOf(count) {
  return count === 4 ? [0, 1, 2, 5] : [0, 1, 2, 3, 4, 5].slice(0, count);
}

/** The twist in the robot's frame, for one in the frame of somebody who looks from a side of the robot; a tool's is one. */
export function turned(twist, view) {
  const [x, y, z, roll, pitch, yaw] = twist;
  const turn = {
    behind: (a, b) => [a, b], left: (a, b) => [b, -a], front: (a, b) => [-a, -b], right: (a, b) => [-b, a],
    tool: (a, b) => [a, b],
  }[view];
  return [...turn(x, y), z, ...turn(roll, pitch), yaw];
}

/** The name of every number of an action: an axis, or a joint where the robot makes the action of a twist itself. */
export function labelsOf(robot) {
  const labels = new Array(robot.action_dim).fill("");
  for (let arm = 0; arm < robot.arms; arm++) {
    const prefix = robot.arms > 1 ? `${ARMS[arm][0].toUpperCase()} ` : "";
    const indices = armIndices(robot, arm);
    indices.forEach((index, i) => {
      labels[index] = prefix + (robot.converts ? `joint ${i + 1}` : AXES[axesOf(indices.length)[i]] ?? `${i}`);
    });
  }
  robot.grippers.forEach((index, gripper) => {
    labels[index] = robot.grippers.length > 1 ? `${ARMS[gripper][0].toUpperCase()} grip` : "grip";
  });
  return labels;
}
