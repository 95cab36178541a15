// Tiny Face Detector (face-api) on TensorFlow.js: a canvas -> boxes; which box is followed; and the square crop around it.
import * as faceapi from "@vladmandic/face-api";

import { FACE_PIXELS } from "./score.js";

const INPUT_SIZE = 224; // pixels; the frame is padded to a square and reduced to this
const SCORE = 0.3;
// From this detector's box to that of OpenCV's Haar cascade: a square whose side is the box's longer side times HAAR_SIDE, its centre
// higher by HAAR_UP of that side. Medians over 53 real faces that both find; the overlap of the two boxes rises from 0.70 to 0.77.
const HAAR_SIDE = 0.93;
const HAAR_UP = 0.09;
const SAME_FACE = 0.2; // intersection over union with the face of the frame before, as in faces.py

// Loads weights and a backend: WebGL where a GPU draws, else WebAssembly. Returns the backend's name.
export async function loadDetector(folder) {
  const { tf } = faceapi;
  tf.setWasmPaths(folder);
  tf.env().set("WASM_HAS_MULTITHREAD_SUPPORT", false); // too small a network: threads cost more than they bring
  await tf.setBackend(hasGpu() ? "webgl" : "wasm");
  await tf.ready();
  await faceapi.nets.tinyFaceDetector.load(folder);
  return tf.getBackend();
}

// [{box: [x1, y1, x2, y2], score}] in pixels of the canvas, the surest first.
export async function detectFaces(canvas) {
  const options = new faceapi.TinyFaceDetectorOptions({ inputSize: INPUT_SIZE, scoreThreshold: SCORE });
  const found = await faceapi.detectAllFaces(canvas, options);
  return found
    .map(({ box, score }) => ({ box: [box.left, box.top, box.right, box.bottom], score }))
    .sort((a, b) => b.score - a.score);
}

// The box that a model's crops are cut from, where its training crops were found by Haar's detector.
export function asHaar([x1, y1, x2, y2]) {
  const side = Math.max(x2 - x1, y2 - y1);
  const [x, y, half] = [(x1 + x2) / 2, (y1 + y2) / 2 - HAAR_UP * side, (HAAR_SIDE * side) / 2];
  return [x - half, y - half, x + half, y + half];
}

// One face, as choose_face of faces.py: that of the frame before if it is still there, else the largest or the most central; or null.
export function chooseFace(faces, width, height, how, previous) {
  if (!faces.length) return null;
  const best = (value) => faces.reduce((a, b) => (value(b) > value(a) ? b : a));
  if (previous) {
    const nearest = best((face) => overlap(face.box, previous.box));
    if (overlap(nearest.box, previous.box) >= SAME_FACE) return nearest;
  }
  if (how === "central") return best(({ box: [x1, y1, x2, y2] }) => -Math.hypot(x1 + x2 - width, y1 + y2 - height));
  return best(({ box }) => area(box));
}

export function overlap(a, b) {
  const width = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const common = Math.max(width, 0) * Math.max(height, 0);
  return common / (area(a) + area(b) - common);
}

const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);

// The box moved by shares of its width and height, and made larger or smaller about its centre.
export function moved([x1, y1, x2, y2], [right, down, size]) {
  const [x, y] = [(x1 + x2) / 2 + right * (x2 - x1), (y1 + y2) / 2 + down * (y2 - y1)];
  const [halfWidth, halfHeight] = [((x2 - x1) / 2) * size, ((y2 - y1) / 2) * size];
  return [x - halfWidth, y - halfHeight, x + halfWidth, y + halfHeight];
}

// The crop that the model sees, size x size x 3 bytes RGB; it shows no more than FACE_PIXELS x FACE_PIXELS, as in scoring/watch.py.
export function cropFace(image, box, size, padding) {
  if (size <= FACE_PIXELS) return cropSquare(image, box, size, padding);
  const small = { data: cropSquare(image, box, FACE_PIXELS, padding), width: FACE_PIXELS, height: FACE_PIXELS };
  return cropSquare(small, [0, 0, FACE_PIXELS, FACE_PIXELS], size, 0);
}

// The square around a box, size x size x 3 bytes RGB: the geometry in the docstring of faces.py, without its rotation (no landmarks here).
// data: the bytes of width x height pixels, RGB or RGBA.
export function cropSquare({ data, width, height }, [x1, y1, x2, y2], size, padding) {
  const channels = data.length / (width * height);
  const side = Math.max(x2 - x1, y2 - y1) * (1 + 2 * padding);
  const k = Math.max(1, Math.ceil(side / size));
  const step = side / (size * k);
  const left = (x1 + x2) / 2 - side / 2;
  const top = (y1 + y2) / 2 - side / 2;
  const columns = positions(left, step, size * k, width);
  const rows = positions(top, step, size * k, height);
  const crop = new Uint8ClampedArray(size * size * 3); // rounds
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      const total = [0, 0, 0];
      for (let i = row * k; i < (row + 1) * k; i++) {
        for (let j = column * k; j < (column + 1) * k; j++) {
          const [y0, yNext, fy] = rows[i];
          const [x0, xNext, fx] = columns[j];
          for (let c = 0; c < 3; c++) {
            const upper = data[(y0 * width + x0) * channels + c] * (1 - fx) + data[(y0 * width + xNext) * channels + c] * fx;
            const lower = data[(yNext * width + x0) * channels + c] * (1 - fx) + data[(yNext * width + xNext) * channels + c] * fx;
            total[c] += upper * (1 - fy) + lower * fy;
          }
        }
      }
      for (let c = 0; c < 3; c++) crop[(row * size + column) * 3 + c] = total[c] / (k * k);
    }
  }
  return crop;
}

// For each sample the two pixels between whose centres it lies, and the share of the second; the border is repeated.
function positions(start, step, count, length) {
  return Array.from({ length: count }, (_, i) => {
    const position = start + (i + 0.5) * step - 0.5;
    const first = Math.floor(position);
    const clamp = (pixel) => Math.min(length - 1, Math.max(0, pixel));
    return [clamp(first), clamp(first + 1), position - first];
  });
}

function hasGpu() {
  const gl = document.createElement("canvas").getContext("webgl2");
  const names = gl?.getExtension("WEBGL_debug_renderer_info");
  const renderer = names ? gl.getParameter(names.UNMASKED_RENDERER_WEBGL) : "";
  return gl !== null && !/swiftshader|llvmpipe|software/i.test(renderer); // drawn by the CPU, WebAssembly is faster
}
