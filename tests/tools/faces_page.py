"""The page of reon_face/web/ for its tests and its benchmark: a host, and Chromium that is driven through scenarios."""

import json
import subprocess
from http.server import SimpleHTTPRequestHandler

from tests.tools.browser import CHROMIUM, WEB
from tests.tools.scripts import ROOT

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Handler(SimpleHTTPRequestHandler):
    """A host of static files; headers: sent with each; knows_types: else it names those of HTML, CSS and .js alone."""

    def __init__(self, *args, headers, knows_types=True, **kwargs):
        self.sent, self.knows_types = headers, knows_types
        super().__init__(*args, **kwargs)

    def guess_type(self, path):
        if self.knows_types or str(path).endswith((".html", ".css", ".js")):
            return super().guess_type(path)
        return "application/octet-stream"

    def end_headers(self):
        for item in self.sent.items():
            self.send_header(*item)
        super().end_headers()

    def log_message(self, *args):
        pass


def drive(hosts, scenarios, *args):
    """Scenario -> {value} or {error}. hosts: with the address of `page`. args: of Chromium."""
    task = {"modules": str(WEB), "chromium": CHROMIUM, "args": args, "url": hosts["page"], "scenarios": scenarios}
    command = ["node", str(ROOT / "tests" / "tools" / "reon_face_page.mjs")]
    result = subprocess.run(command, input=json.dumps(task), capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads(result.stdout)


def sent_to(page, kind):
    """Files of a built page that a browser with SIMD loads, on "cpu" or "gpu", without the model."""
    left_out = {"tfjs-backend-wasm.wasm"}
    files = [file for file in page.rglob("*") if file.is_file() and file.name not in left_out]
    other = {"cpu": ("asyncify", "webgpu"), "gpu": ("ort.wasm", "simd-threaded.js", "simd-threaded.packed")}[kind]
    return [
        file for file in files if not file.name.startswith("model.") and not any(part in file.name for part in other)
    ]


def weight(page, kind):
    """Bytes of those files."""
    return sum(file.stat().st_size for file in sent_to(page, kind))


def value(answers, name):
    """The value of a scenario that went well."""
    assert "error" not in answers[name], answers[name]["error"]
    return answers[name]["value"]
