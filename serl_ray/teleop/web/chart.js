// A strip chart: lines over a common axis, with shaded spans and a level, in a canvas of fixed size.

const INK = { line: "#28323d", level: "#8794a3", span: "#ff9a3c38" };
const INSET = 3;

export class Chart {
  /** @param element figure with a caption, whose `b` gets the newest value, and a canvas. */
  constructor(element) {
    this.value = element.querySelector("b");
    this.canvas = element.querySelector("canvas");
  }

  /**
   * @param drawn `from` and `to` of the axis; `low` and `high` of the values; `lines` of {colour, points: [[x, y]]},
   *   where a y of null interrupts the line; `spans` of [from, to]; `level` or null; `text` of the newest value.
   */
  draw({ from, to, low, high, lines, spans = [], level = null, text = "–" }) {
    if (this.value.textContent !== text) {
      this.value.textContent = text;
    }
    const context = this.#clear();
    const { width, height } = this.canvas;
    const x = (at) => ((at - from) / (to - from || 1)) * width;
    const y = (value) => height - INSET - ((value - low) / (high - low || 1)) * (height - 2 * INSET);
    context.fillStyle = INK.span;
    spans.forEach(([start, end]) => context.fillRect(x(start), 0, Math.max(1, x(end) - x(start)), height));
    [low, high].forEach((value) => stroke(context, INK.line, [[0, y(value)], [width, y(value)]]));
    if (level !== null) {
      context.setLineDash([4, 4]);
      stroke(context, INK.level, [[0, y(level)], [width, y(level)]]);
      context.setLineDash([]);
    }
    for (const { colour, points } of lines) {
      stroke(context, colour, points.map(([at, value]) => [x(at), value === null ? null : y(value)]), 1.5);
    }
  }

  #clear() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const size = [Math.round(canvas.clientWidth * scale), Math.round(canvas.clientHeight * scale)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
    }
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    return context;
  }
}

function stroke(context, colour, points, width = 1) {
  context.strokeStyle = colour;
  context.lineWidth = width * (window.devicePixelRatio || 1);
  context.beginPath();
  let isDown = false;
  for (const [x, y] of points) {
    if (y === null) {
      isDown = false;
    } else if (isDown) {
      context.lineTo(x, y);
    } else {
      context.moveTo(x, y);
      isDown = true;
    }
  }
  context.stroke();
}
