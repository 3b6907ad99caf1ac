// Messages between this page and the hub: uint32 length of the header | JSON header | raw blobs, little endian.
// serl_ray/teleop/wire.py is the other side.

const MAX_BYTES = 8 * 2 ** 20;
const JPEG = "jpeg";
const ARRAYS = {
  bool: Uint8Array, uint8: Uint8Array, int8: Int8Array, uint16: Uint16Array, int16: Int16Array,
  uint32: Uint32Array, int32: Int32Array, float32: Float32Array, float64: Float64Array,
};

export class WireError extends Error {}

/** The bytes of a message; every array is a Float32Array. */
export function pack(kind, fields = {}, arrays = {}) {
  const blobs = Object.entries(arrays).map(([name, array]) => ({ name, dtype: "float32", shape: [array.length] }));
  const header = new TextEncoder().encode(JSON.stringify({ kind, fields, blobs }));
  const size = Object.values(arrays).reduce((sum, array) => sum + 4 * array.length, 4 + header.length);
  const packed = new Uint8Array(size);
  const view = new DataView(packed.buffer);
  view.setUint32(0, header.length, true);
  packed.set(header, 4);
  let at = 4 + header.length;
  for (const array of Object.values(arrays)) {
    for (const value of array) {
      view.setFloat32(at, value, true);
      at += 4;
    }
  }
  return packed;
}

/** The message in an ArrayBuffer: {kind, fields, arrays, jpegs}, the last two by name. */
export function unpack(buffer) {
  if (buffer.byteLength < 4 || buffer.byteLength > MAX_BYTES) {
    throw new WireError(`A message has ${buffer.byteLength} bytes.`);
  }
  const length = new DataView(buffer).getUint32(0, true);
  if (length > buffer.byteLength - 4) {
    throw new WireError(`The header of a message is said to have ${length} bytes, of ${buffer.byteLength} in all.`);
  }
  const { kind, fields, blobs } = headerOf(new Uint8Array(buffer, 4, length));
  const message = { kind, fields, arrays: {}, jpegs: {} };
  let at = 4 + length;
  for (const blob of blobs) {
    at = take(message, blob, buffer, at);
  }
  if (at !== buffer.byteLength) {
    throw new WireError(`${buffer.byteLength - at} bytes follow the last blob of a message.`);
  }
  return message;
}

function headerOf(bytes) {
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new WireError(`The header of a message is no JSON: ${error.message}`);
  }
  if (typeof header?.kind !== "string" || typeof header.fields !== "object" || !Array.isArray(header.blobs)) {
    throw new WireError("The header of a message is no object of kind, fields and blobs.");
  }
  return header;
}

/** Adds the next blob to the message, and returns where the one after it begins. */
function take(message, { name, dtype, shape }, buffer, at) {
  const isJpeg = dtype === JPEG;
  const type = isJpeg ? Uint8Array : Object.hasOwn(ARRAYS, dtype) && ARRAYS[dtype];
  if (!type || !Array.isArray(shape)) {
    throw new WireError(`Blob ${name} is ${dtype}, which this page does not read.`);
  }
  const end = at + shape.reduce((product, size) => product * size, type.BYTES_PER_ELEMENT);
  if (!(end >= at && end <= buffer.byteLength)) {
    throw new WireError(`Blob ${name} needs ${end - at} bytes, and ${buffer.byteLength - at} are there.`);
  }
  // The copy is aligned, which the blob in its message need not be.
  (isJpeg ? message.jpegs : message.arrays)[name] = new type(buffer.slice(at, end));
  return end;
}
