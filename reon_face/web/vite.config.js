import { defineConfig } from "vite";

// Threads of WebAssembly need a page that is isolated from other origins; the host of the built page must send the same two headers.
const headers = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

// While developing, Vite puts styles and scripts of its own into the page, which the page's policy refuses.
const withoutPolicy = {
  name: "without-policy",
  apply: "serve",
  transformIndexHtml: (html) => html.replace(/<meta\s+http-equiv="Content-Security-Policy"[^>]*>/, ""),
};

export default defineConfig({
  plugins: [withoutPolicy],
  base: "./", // the page works in any folder of any host
  resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "production", "import", "default"] }, // wasm is in vendor/
  build: { target: "es2022", chunkSizeWarningLimit: 1500 },
  server: { headers },
  preview: { headers },
});
