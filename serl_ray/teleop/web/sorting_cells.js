// The cells of a sorting grid: their size, and the words on an item.

const [LEAST_CAMERA, LEAST_CAMERA_LOW] = [92, 60];
const LOW_WINDOW = 500;
const CELL_GAP = 8;
const CELL_BORDER = 6;
const CELL_TEXT = 20;
const GRID_PADDING = 16;

export const WORDS = { success: "success", failure: "failure", left_out: "left out" };

/** The cells of items in a grid of so many pixels, which they fill in as many columns as there is room for. */
export function layoutOf(items, gridWidth) {
  const cameras = items.reduce((most, item) => Math.max(most, item.cameras.length), 1);
  const least = innerHeight < LOW_WINDOW ? LEAST_CAMERA_LOW : LEAST_CAMERA;
  const room = gridWidth - GRID_PADDING;
  const columns = Math.max(1, Math.floor(room / (cameras * least + CELL_BORDER + CELL_GAP)));
  const width = Math.floor(room / columns);
  const camera = Math.floor((width - CELL_BORDER - CELL_GAP) / cameras);
  return { width, height: camera + CELL_TEXT + CELL_BORDER + CELL_GAP, columns, camera };
}

/** Writes an item's label, probability and place into an element. */
export function describe(element, text, { group, label, is_sorted: isSorted, probability, note }) {
  element.dataset.label = label ?? "";
  element.dataset.sorted = String(Boolean(isSorted));
  const parts = [note, probability === null || probability === undefined ? "" : `p ${probability.toFixed(3)}`, group];
  const words = [label ? (isSorted ? WORDS[label] : `${WORDS[label]}?`) : "", ...parts].filter(Boolean).join(" · ");
  if (text.textContent !== words) {
    text.textContent = words;
  }
}
