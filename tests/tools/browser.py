"""Chromium, driven by node and playwright-core, for the tests of pages; and what of it is missing here."""

import shutil
import subprocess

from tests.tools.scripts import ROOT

WEB = ROOT / "reon_face" / "web"  # whose packages have playwright-core
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell"))), None
)


def missing(*programs: str) -> list[str]:
    """What a test of a page needs, programs included, and this machine does not have."""
    found = [name for name in programs if not shutil.which(name)] + ([] if CHROMIUM else ["Chromium"])
    if shutil.which("node"):
        version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
        found += [] if int(version[1:].split(".")[0]) >= 20 else ["node 20 or later"]
    return found + ([] if (WEB / "node_modules").is_dir() else ["`npm ci` in reon_face/web"])
