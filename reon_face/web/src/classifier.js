// The exported emotion classifier on ONNX Runtime Web: model.json says what model.onnx wants and means.

const MOST_PIXELS = 4096; // as in model.py
const MOST_PADDING = 2;

// folder: where model.onnx and model.json are. Returns a classifier, or null where there is no model. Throws where it is damaged.
export async function loadFromFolder(folder, vendor) {
  const answer = await fetch(`${folder}model.json`).catch(() => null);
  if (!answer?.ok || answer.headers.get("content-type")?.includes("html")) return null; // some hosts answer with a page
  const description = await answer.json();
  return load(description, get(`${folder}${description.model}`), vendor);
}

// The two files, in any order, from a file picker.
export async function loadFromFiles(files, vendor) {
  const description = [...files].find((file) => file.name.endsWith(".json"));
  const model = [...files].find((file) => file.name.endsWith(".onnx"));
  if (!description || !model) throw new Error("model.json + model.onnx");
  return load(JSON.parse(await description.text()), model.arrayBuffer(), vendor);
}

// The bytes of a file of the host. Throws with its name.
async function get(url, unpack = (body) => body) {
  const name = url.split("/").at(-1);
  const answer = await fetch(url).catch((error) => {
    throw new Error(`${name}: ${error.message}`);
  });
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return new Response(unpack(answer.body)).arrayBuffer();
}

// bytes: a promise of the model, which comes while the runtime is loaded.
async function load(description, bytes, vendor) {
  bytes.catch(() => {}); // said where it is awaited, and not at once where a check below fails first
  for (const key of ["label_names", "image_size", "mean", "std", "face_crop"]) {
    if (!(key in description)) throw new Error(`model.json: ${key}?`);
  }
  const { image_size: size, face_crop: crop } = description;
  if (!(Number.isInteger(size) && size >= 1 && size <= MOST_PIXELS)) throw new Error(`model.json: image_size ${size}?`);
  if (!(crop.padding >= 0 && crop.padding <= MOST_PADDING)) throw new Error(`model.json: padding ${crop.padding}?`);
  const webgpu = Boolean(await navigator.gpu?.requestAdapter().catch(() => null));
  return (webgpu && (await start(description, bytes, vendor, true).catch(() => null))) || start(description, bytes, vendor, false);
}

async function start(description, bytes, vendor, webgpu) {
  const name = `${vendor}ort-wasm-simd-threaded${webgpu ? ".asyncify" : ""}`;
  const [ort, runtime] = await Promise.all([
    webgpu ? import("onnxruntime-web/webgpu") : import("onnxruntime-web/wasm"),
    get(`${name}.packed`, (body) => body.pipeThrough(new DecompressionStream("gzip"))),
  ]);
  ort.env.wasm.wasmPaths = { mjs: `${name}.js` };
  ort.env.wasm.wasmBinary = runtime;
  // half the cores, as the other half decodes and draws; more made it slower
  const threads = self.crossOriginIsolated ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2)) : 1;
  ort.env.wasm.numThreads = threads;
  const model = await bytes;
  const session = await ort.InferenceSession.create(model, { executionProviders: webgpu ? ["webgpu", "wasm"] : ["wasm"] });
  const size = description.image_size;
  let last = Promise.resolve(); // a session runs one crop at a time

  // crop: size x size x 3 bytes RGB -> probabilities in the order of label_names.
  async function classify(crop) {
    const pixels = new Float32Array(crop.length);
    for (let c = 0; c < 3; c++) {
      const [mean, std] = [description.mean[c], description.std[c]];
      for (let i = 0; i < size * size; i++) pixels[c * size * size + i] = (crop[i * 3 + c] / 255 - mean) / std;
    }
    const run = () => session.run({ pixel_values: new ort.Tensor("float32", pixels, [1, 3, size, size]) });
    const { logits } = await (last = last.then(run, run));
    return softmax([...logits.data]);
  }

  return { description, classify, runtime: webgpu ? "WebGPU" : "WASM", threads: webgpu ? 1 : threads, bytes: model.byteLength };
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const weights = logits.map((value) => Math.exp(value - highest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((value) => value / total);
}
