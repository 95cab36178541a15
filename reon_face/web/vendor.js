// Copies what the page loads at run time, detector weights and WebAssembly, from the packages to public/vendor/, so that the build holds it all.
// ONNX Runtime's WebAssembly is packed: not every host packs what it sends, and 14 MB would be 4. Its scripts are called .js: some hosts
// do not know .mjs as a script, and then browsers refuse it.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const FILES = [
  "@vladmandic/face-api/model/tiny_face_detector_model-weights_manifest.json",
  "@vladmandic/face-api/model/tiny_face_detector_model.bin",
  "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm",
  "@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm",
  "onnxruntime-web/dist/ort-wasm-simd-threaded.mjs", // CPU
  "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.mjs", // WebGPU
  "onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify.wasm",
];

rmSync("public/vendor", { recursive: true, force: true });
mkdirSync("public/vendor", { recursive: true });
for (const file of FILES) {
  const [source, name] = [`node_modules/${file}`, file.split("/").at(-1)];
  if (!file.startsWith("onnxruntime")) cpSync(source, `public/vendor/${name}`);
  else if (name.endsWith(".mjs")) cpSync(source, `public/vendor/${name.replace(".mjs", ".js")}`);
  // not .gz, which some hosts announce as a packed answer, and others do not
  else writeFileSync(`public/vendor/${name.replace(".wasm", ".packed")}`, gzipSync(readFileSync(source), { level: 9 }));
}
