"""The page of reon_face/web/ for its tests and its benchmark: a host, and Chromium that is driven through scenarios."""

import json
import subprocess
from http.server import SimpleHTTPRequestHandler

from tests.tools.browser import CHROMIUM, WEB
from tests.tools.scripts import ROOT

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Handler(SimpleHTTPRequestHandler):
    """A host of static files; headers: sent with each."""

    def __init__(self, *args, headers, **kwargs):
        self.sent = headers
        super().__init__(*args, **kwargs)

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


def value(answers, name):
    """The value of a scenario that went well."""
    assert "error" not in answers[name], answers[name]["error"]
    return answers[name]["value"]
