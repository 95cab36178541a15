"""How fast the page in reon_face/web/ loads and answers, its weight, and milliseconds per frame beside Python's.

python tests/benchmarks/reon_face_page.py --exported EXPORTED/fp32 EXPORTED/int8
python tests/benchmarks/reon_face_page.py --exported EXPORTED/fp32 --frames FOLDER_OF_IMAGES

Each look of the page is detection (Tiny Face Detector), then crop and classification (onnxruntime-web). The first
WARM_UP are left out. A visit begins with an empty cache, the first answer is the first frame of a video that is
chosen. Needs `npm ci` in reon_face/web and Chromium.
"""

import argparse
import base64
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

sys.path.insert(0, str(Path(__file__).parents[2]))

from reon_face.faces import Face, choose_face, crop_face, load_detector, overlap
from reon_face.sample.draw import EMOTIONS, draw_frame
from reon_face.scoring.performance import FACE_PIXELS
from tests.tools.faces import acted
from tests.tools.faces_page import ISOLATION, WEB, Handler, drive, sent_to, value, weight
from tests.tools.scripts import launch

WARM_UP = 5
VISITS = 5
NETWORKS = {"this machine": None, "50 Mbit/s, 20 ms": {"mbit": 50, "latency": 20}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--exported", nargs="+", required=True, help="folders of model.onnx and model.json")
    parser.add_argument("--frames", help="folder of images; default: 40 drawn frames of 320 x 240")
    args = parser.parse_args()
    if args.frames:
        frames = [
            cv2.imread(str(path)) for path in sorted(Path(args.frames).iterdir()) if path.suffix in (".jpg", ".png")
        ]
    else:
        random = np.random.default_rng(0)
        frames = [draw_frame(k, EMOTIONS[k % 7], 1.0, 240, 320, random) for k in range(40)]
    images = ["data:image/png;base64," + base64.b64encode(cv2.imencode(".png", frame)[1]).decode() for frame in frames]
    print(
        f"{len(frames)} frames, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; milliseconds: median (10th "
        "percentile)"
    )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        launch("npm", "run", "build", "--", "--outDir", page, "--emptyOutDir", "--logLevel", "warn", cwd=WEB)
        weigh(page)
        acted(Path(folder) / "actor.webm", [("happy", 1.0), ("surprise", 1.0)], 2)
        for exported in map(Path, args.exported):
            for name in ("model.onnx", "model.json"):
                shutil.copy(exported / name, page)
            print(f"\n{exported}: model.onnx {(page / 'model.onnx').stat().st_size / 1e6:.2f} MB")
            visit(page, Path(folder) / "actor.webm")
            for headers, cores in (
                ({}, None),
                (ISOLATION, 2 * os.cpu_count()),
            ):  # the page takes half of the cores, up to four
                looks = in_page(page, headers, images, cores)
            in_python(exported, frames, looks)


def weigh(page: Path) -> None:
    """What a visitor is sent."""
    for kind in ("cpu", "gpu"):
        print(f"page without model, {kind.upper()}: {weight(page, kind) / 1e6:.1f} MB")
    for file in sorted(sent_to(page, "cpu"), key=lambda file: -file.stat().st_size)[:4]:
        print(f"  {file.name}: {file.stat().st_size / 1e6:.2f} MB")


@contextmanager
def host(page: Path, headers: dict) -> Iterator[dict]:
    """The page on this machine, as drive() takes it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(page), headers=headers))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"page": f"http://127.0.0.1:{server.server_port}/"}
    server.shutdown()


def visit(page: Path, actor: Path) -> None:
    with host(page, {}) as hosts:
        for name, network in NETWORKS.items():
            options = {"actor": str(actor), "network": network}
            visits = [value(drive(hosts, {"loading": options}), "loading") for _ in range(VISITS)]
            middle = {key: np.median([each[key] for each in visits]) for key in visits[0]}
            print(
                f"{name}, median of {VISITS} visits: text after {middle['shown']:.0f} ms, ready after "
                f"{middle['ready']:.0f} ms (of which its thread computes {middle['cpu']:.0f} ms), first answer "
                f"{middle['answer']:.0f} ms after a video is chosen, {middle['sent'] / 1e6:.1f} MB sent"
            )


def in_page(page: Path, headers: dict, images: list[str], cores: int | None) -> list[dict]:
    """cores: that the page is told of; None: the machine's."""
    with host(page, headers) as hosts:
        found = value(drive(hosts, {"frames": {"images": images, "cores": cores}}), "frames")
    looks = found["looks"]
    name = f"Chromium, {found['runtime']}, {found['threads']} thread(s); detector on {found['backend']}, 1 thread"
    show(name, [look["detectMs"] for look in looks], [look["classifyMs"] for look in looks if look["box"]])
    return looks


def in_python(exported: Path, frames: list[np.ndarray], looks: list[dict]) -> None:
    description = json.loads((exported / "model.json").read_text())
    size, crop = description["image_size"], description["face_crop"]
    detector = load_detector("haar")
    cv2.setNumThreads(1)
    for threads in (1, os.cpu_count()):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(exported / "model.onnx", options, providers=["CPUExecutionProvider"])
        detect, classify, overlaps, differences = [], [], [], []
        for frame, look in zip(frames, looks, strict=True):
            start = time.perf_counter()
            face = choose_face(detector(frame), *frame.shape[:2], crop["choose"])
            detect.append(1000 * (time.perf_counter() - start))
            if face is None:
                continue
            start = time.perf_counter()
            small = crop_face(frame, face, min(size, FACE_PIXELS), crop["padding"], crop["align"])
            pixels = crop_face(small, Face((0, 0, *small.shape[:2]), 1.0), size, 0, False)[..., ::-1]
            scaled = (pixels.astype(np.float32) / 255 - np.float32(description["mean"])) / np.float32(
                description["std"]
            )
            logits = session.run(["logits"], {"pixel_values": scaled.transpose(2, 0, 1)[None]})[0][0].astype(float)
            classify.append(1000 * (time.perf_counter() - start))
            if look["box"]:
                weights = np.exp(logits - logits.max())
                overlaps.append(overlap(Face(tuple(look["box"]), 1.0), face))
                differences.append(np.abs(weights / weights.sum() - look["probabilities"]).sum() / 2)
        show(f"Python, onnxruntime, {threads} thread(s); Haar, 1 thread", detect, classify)
    found = sum(look["box"] is not None for look in looks)
    same = np.array(overlaps) > 0.3
    mean_overlap, mean_distance = (np.mean(np.array(values)[same]) for values in (overlaps, differences))
    print(
        f"faces: page {found}, Haar {len(classify)}, both {len(overlaps)} of {len(frames)}; the same face in "
        f"{same.sum()}"
    )
    print(f"of these: overlap {mean_overlap:.2f}, distance of the probabilities {mean_distance:.3f}")


def show(name: str, detect: list[float], classify: list[float]) -> None:
    middle = [
        f"{np.median(values[WARM_UP:]):.1f} ({np.percentile(values[WARM_UP:], 10):.1f})"
        for values in (detect, classify)
    ]
    print(f"{name}: detection {middle[0]}, crop and classification {middle[1]}")


if __name__ == "__main__":
    main()
