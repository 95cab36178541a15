// Copies what the page loads at run time, detector weights and WebAssembly, from the packages to public/vendor/, so that the build holds it all.
import { cpSync, mkdirSync, rmSync } from "node:fs";

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
for (const file of FILES) cpSync(`node_modules/${file}`, `public/vendor/${file.split("/").at(-1)}`);
