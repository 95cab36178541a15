"""The page of reon_face/web/ in headless Chromium: built, served, its camera fed from a file, its numbers held against
Python's."""

import base64
import json
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import ThreadingHTTPServer

import av
import cv2
import numpy as np
import pytest
import torch

from reon_face.faces import Face, choose_face, crop_face, load_detector, moved, overlap
from reon_face.model import load_fold, preprocessing_of
from reon_face.scoring.performance import FACE_PIXELS, VIEWS, Comparison, Performance, compare
from tests.tools.browser import WEB, missing
from tests.tools.faces import SIZE, TASK, acted, drawn_crops, read_video, save_model, watched, write_y4m
from tests.tools.faces_page import ISOLATION, Handler, drive, value, weight
from tests.tools.scripts import ENVIRONMENT, launch

MISSING = missing("node", "npm")
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """page/ (with a model) and bare/ (without), and the videos."""
    folder = tmp_path_factory.mktemp("web")
    launch("npm", "run", "build", "--", "--outDir", folder / "bare", "--emptyOutDir", "--logLevel", "warn", cwd=WEB)
    save_model(folder / "model")
    command = [
        sys.executable,
        str(TASK / "export.py"),
        "model",
        "--output_dir",
        "exported",
        "--torch_num_threads",
        "1",
    ]
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
    shutil.copytree(folder / "bare", folder / "page")
    for name in ("model.onnx", "model.json"):
        shutil.copy(folder / "exported" / "fp32" / name, folder / "page")
    acted(folder / "actor.webm", [("happy", 1.0), ("surprise", 1.0)], 2)
    acted(folder / "user.webm", [("angry", 1.0), ("sad", 1.0)], 4)
    write_y4m(folder / "face.y4m", read_video(folder / "actor.webm")[0])
    write_y4m(folder / "empty.y4m", [np.full((240, 320, 3), 128, np.uint8)] * 4)
    (folder / "broken.webm").write_text("not a video")
    write_long(folder / "long.webm", read_video(folder / "actor.webm")[0][:2])
    return folder


def write_long(path, frames):
    """Two frames, the second of them 61 minutes after the first."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=1)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for second, image in zip((0, 3660), frames, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = second
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def hosts(folder):
    """name -> address: with a model, isolated so that threads are allowed; without either; with a model, below a path of
    a host that knows few types of files."""
    (folder / "host" / "some").mkdir(parents=True)
    (folder / "host" / "some" / "path").symlink_to(folder / "page")
    kinds = {"page": ("page", ISOLATION, True), "bare": ("bare", {}, True), "below": ("host", {}, False)}
    servers = {
        name: ThreadingHTTPServer(
            ("127.0.0.1", 0), partial(Handler, directory=str(folder / root), headers=headers, knows_types=knows)
        )
        for name, (root, headers, knows) in kinds.items()
    }
    for server in servers.values():
        threading.Thread(target=server.serve_forever, daemon=True).start()
    paths = {"below": "some/path/"}
    yield {name: f"http://127.0.0.1:{server.server_port}/{paths.get(name, '')}" for name, server in servers.items()}
    for server in servers.values():
        server.shutdown()


@pytest.fixture(scope="module")
def frames(folder):
    """Frames of the two videos, (H, W, 3) uint8 RGB."""
    return [frame for name in ("actor", "user") for frame in read_video(folder / f"{name}.webm")[0][::6]]


def cut_off(path, source):
    """The first two thirds of an MP4 whose index stands at its beginning."""
    shown, rate = read_video(source)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=round(rate))
        stream.height, stream.width, stream.pix_fmt = *shown[0].shape[:2], "yuv420p"
        for frame in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


def numbers_of(frame):
    """Crops, and a frame to be cropped, for the page's classifier."""
    crops, _ = drawn_crops(7, seed=5)
    height, width = frame.shape[:2]
    return {
        "crops": [crop.ravel().tolist() for crop in crops],
        "frame": frame.ravel().tolist(),
        "height": height,
        "width": width,
        "box": [200, 100, 330.5, 220],  # beyond the border
        "size": SIZE,
        "padding": 0.1,
    }


@pytest.fixture(scope="module")
def answers(folder, hosts, frames):
    encoded = [base64.b64encode(cv2.imencode(".png", frame[..., ::-1])[1]).decode() for frame in frames]
    scenarios = {
        "files": {
            "actor": str(folder / "actor.webm"),
            "user": str(folder / "user.webm"),
            "screenshot": os.environ.get("SCREENSHOT"),
        },
        "numbers": numbers_of(frames[0]),
        "frames": {"images": [f"data:image/png;base64,{image}" for image in encoded]},
        "refused": {},
        "unplayable": {"actor": str(folder / "broken.webm")},
        "language": {},
        "policy": {"elsewhere": hosts["bare"]},
        "nomodel": {
            "url": hosts["bare"],
            "files": [str(folder / "page" / name) for name in ("model.json", "model.onnx")],
        },
    }
    return drive(hosts, scenarios)


@pytest.fixture(scope="module")
def rarely(folder, hosts, frames):
    """What users come upon more rarely: a minute in the browser."""
    both = {who: str(folder / f"{who}.webm") for who in ("actor", "user")}
    scenarios = {
        "files": both,
        "together": both,
        "threads": numbers_of(frames[0]) | {"cores": 4},
        "cutOff": {"actor": str(cut_off(folder / "cut.mp4", folder / "actor.webm"))},
        "keyboard": {},
        "held": {**both, "broken": str(folder / "broken.webm")},
        "long": {
            "long": str(folder / "long.webm"),
            "actor": str(folder / "actor.webm"),
            "screenshot": os.environ.get("SCREENSHOT_LONG"),
        },
        "below": {"url": hosts["below"], **both},
        "lost": {},
    }
    return drive(hosts, scenarios)


@pytest.fixture(scope="module")
def camera(folder, hosts):
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={folder / 'face.y4m'}")
    return drive(
        hosts,
        {"camera": {"actor": str(folder / "actor.webm")}, "stopped": {"actor": str(folder / "actor.webm")}},
        *fake,
    )


def test_two_files_are_compared_and_the_score_is_that_of_python_on_the_same_probabilities(answers):
    found = value(answers, "files")
    assert found["errors"] == []

    def performance(of):
        rows = [[np.nan] * 7 if row is None else row for row in of["probabilities"]]
        return Performance(np.array(of["times"]), np.array(rows), of["duration"])

    expected = compare(performance(found["actor"]), performance(found["user"]), Comparison())
    assert found["result"]["score"] == pytest.approx(expected.score, abs=1e-6)
    assert found["score"] == f"{expected.score:.1f}"
    assert found["notice"] == f"Score: {expected.score:.1f} of 100."
    assert "actor's video is ready" in found["afterActor"]
    assert found["figures"] == 8  # seven emotions and the difference
    assert len(found["bars"]) == 7 and found["bars"][0].startswith("Angry")
    assert found["worst"] and " s · " in found["worst"][0]
    assert "초 · " in found["worstInKorean"][0]


@pytest.mark.slow
def test_two_files_may_be_read_at_the_same_time_and_the_last_one_chosen_counts(rarely):
    one, both = value(rarely, "files"), value(rarely, "together")
    assert both["errors"] == []
    for who in ("actor", "user"):
        assert both[who]["times"] == one[who]["times"]
        same = [
            p == q or (None not in (p, q) and np.abs(np.subtract(p, q)).max() < 0.05)
            for p, q in zip(both[who]["probabilities"], one[who]["probabilities"], strict=True)
        ]
        assert np.mean(same) > 0.9


def test_the_page_sees_in_a_file_what_python_sees_in_it(answers, folder):
    """The same decoder's frames, other detectors: the moments are the same and the faces nearly so."""
    found = value(answers, "files")["actor"]
    [(performance, _)] = watched([folder / "actor.webm"], folder / "model")
    assert found["times"] == performance.times.tolist()
    both = [
        (p, q)
        for p, q in zip(found["probabilities"], performance.probabilities, strict=True)
        if p is not None and not np.isnan(q[0])
    ]
    assert len(both) >= 15
    changing = np.std([p for p, _ in both], axis=0).max()
    assert changing > 0.02, "the page saw the same frame at every moment"


def test_nothing_is_loaded_from_another_host(answers, hosts):
    assert all(address.startswith((hosts["page"], "blob:", "data:")) for address in value(answers, "files")["requests"])


def test_the_policy_of_the_page_permits_its_own_parts_and_nothing_else(answers, folder):
    page = (folder / "page" / "index.html").read_text()
    policy = page[page.index("Content-Security-Policy") :].split('content="')[1].split('"')[0]
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy and "'unsafe-eval'" not in policy
    assert page.index("Content-Security-Policy") < page.index("<script")  # it holds from there on
    assert value(answers, "files")["refused"] == []
    found = value(answers, "policy")
    assert (found["ran"], found["sent"], found["evaluated"], found["elsewhere"]) == ([], False, False, [])
    expected = {"connect-src", "frame-src", "img-src", "script-src-attr", "script-src-elem"}
    assert set(found["refused"]) == expected


@pytest.mark.slow
def test_the_policy_permits_the_threads_of_onnx_runtime(rarely, answers):
    one, two = value(answers, "numbers"), value(rarely, "threads")
    assert two["threads"] == 2 and two["errors"] == two["refused"] == one["refused"] == []
    assert np.abs(np.subtract(two["probabilities"], one["probabilities"])).max() < 1e-5


@pytest.mark.slow
def test_only_the_files_that_are_shown_are_held(rarely):
    assert value(rarely, "held") == {"one": 1, "other": 1, "both": 2, "broken": 1, "camera": 1}


@pytest.mark.slow
def test_a_long_video_is_said_and_looked_at_only_when_the_user_goes_on(rarely):
    found = value(rarely, "long")
    assert found["notice"].startswith("long.webm is 61 minutes long") and found["asked"] and not found["before"]
    assert found["looked"] is None
    assert found["reading"].startswith("Looking at the actor's video") and not found["asking"]
    assert found["times"] == 20 and found["held"] == 1 and found["errors"] == []


def test_on_identical_crops_the_page_and_python_agree(answers, folder, frames):
    found = value(answers, "numbers")
    crops, _ = drawn_crops(7, seed=5)
    label_names = json.loads((folder / "model" / "config.json").read_text())["label_names"]
    model = load_fold(folder / "model", torch.device("cpu"), label_names)
    with torch.inference_mode():
        logits = model(pixel_values=torch.from_numpy(preprocessing_of(folder / "model").pixel_values(crops))).logits
    assert np.abs(np.array(found["probabilities"]) - logits.softmax(dim=1).numpy()).max() < 1e-3

    small = crop_face(frames[0], Face((200, 100, 330.5, 220), 1.0), FACE_PIXELS, 0.1, False)
    expected = crop_face(small, Face((0, 0, FACE_PIXELS, FACE_PIXELS), 1.0), SIZE, 0, False)
    difference = np.abs(np.array(found["crop"]).reshape(SIZE, SIZE, 3) - expected.astype(int))
    assert difference.max() <= 3 and difference.mean() < 0.6  # OpenCV interpolates with 5 bits


def test_with_its_own_detector_the_page_finds_nearly_the_same_face(answers, folder, frames, capsys):
    looks, detector = value(answers, "frames")["looks"], load_detector("haar")
    overlaps, seen = [], 0
    for look, frame in zip(looks, frames, strict=True):
        face = choose_face(detector(np.ascontiguousarray(frame[..., ::-1])), *frame.shape[:2])
        if look["box"] and face:
            overlaps.append(overlap(Face(tuple(look["box"]), 1.0), face))
        seen += look["box"] is not None
    with capsys.disabled():
        seen_in = f"{seen} of {len(frames)} frames"
        print(
            f"\nTiny Face Detector: {seen_in}; overlap with Haar: mean {np.mean(overlaps):.2f}, least "
            f"{min(overlaps):.2f}"
        )
    assert seen == len(frames)
    assert np.mean(overlaps) > 0.6


def test_the_mean_over_the_views_is_that_of_python_on_the_same_face(answers, folder, frames):
    label_names = json.loads((folder / "model" / "config.json").read_text())["label_names"]
    preprocessing, model = (
        preprocessing_of(folder / "model"),
        load_fold(folder / "model", torch.device("cpu"), label_names),
    )
    for look, frame in zip(value(answers, "frames")["looks"], frames, strict=True):
        views = []
        for view in VIEWS:
            small = crop_face(
                frame,
                moved(Face(tuple(look["box"]), 1.0), *view),
                FACE_PIXELS,
                preprocessing.face_crop["padding"],
                False,
            )
            views.append(crop_face(small, Face((0, 0, FACE_PIXELS, FACE_PIXELS), 1.0), SIZE, 0, False))
        with torch.inference_mode():
            logits = model(pixel_values=torch.from_numpy(preprocessing.pixel_values(np.stack(views)))).logits
        each = logits.softmax(dim=1).numpy()
        assert np.abs(np.array(look["viewed"]) - each.mean(axis=0)).max() < 0.01 < np.ptp(each, axis=0).max()


def test_a_model_whose_images_were_not_cropped_sees_the_whole_frame(answers, frames):
    height, width = frames[0].shape[:2]
    assert all(look["whole"] == [0, 0, width, height] for look in value(answers, "frames")["looks"])


def test_threads_are_used_only_where_the_page_is_isolated(answers):
    found = value(answers, "numbers")
    assert found["isolated"] and found["threads"] == min(4, -(-os.cpu_count() // 2))
    assert value(answers, "nomodel")["threads"] == [False, 1]


def test_without_a_model_the_page_says_so_and_takes_files(answers):
    found = value(answers, "nomodel")
    assert found["first"].startswith("No model yet: ") and found["camera"]
    assert found["half"].startswith("The model could not be loaded (model.json + model.onnx)")
    assert found["both"].startswith("Ready.")
    assert found["info"].startswith(f"7 emotions · {SIZE} px")


@pytest.mark.slow
def test_a_camera_acts_along(camera):
    found = value(camera, "camera")
    assert found["errors"] == []
    assert found["afterStart"].startswith("The camera is on.")
    assert len(found["bars"]) == 7 and not found["badge"]
    assert found["notice"].startswith("Score: ")
    assert 0 < found["result"]["score"] <= 100
    times = found["user"]["times"]
    assert len(times) > 3 and times == sorted(times)
    assert found["stopped"]


@pytest.mark.slow
def test_escape_stops_the_scene_without_a_score(camera):
    found = value(camera, "stopped")
    assert found["notice"].startswith("Stopped") and not found["result"] and found["busy"] is None


@pytest.mark.slow
def test_a_camera_without_a_face_is_said(folder, hosts):
    fake = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={folder / 'empty.y4m'}")
    found = value(drive(hosts, {"camera": {"actor": str(folder / "actor.webm")}}, *fake), "camera")
    assert found["badge"] and found["badgeText"] == "No face in view"
    assert found["notice"] == "No face was found in your performance." and found["problem"]
    assert found["result"] is None


def test_a_refused_camera_is_said(answers):
    found = value(answers, "refused")
    assert found["problem"] and found["notice"].startswith(("The camera was refused.", "No camera was found."))


def test_a_file_that_is_no_video_is_named(answers):
    found = value(answers, "unplayable")
    assert "cannot play broken.webm" in found["notice"] and found["go"]


@pytest.mark.slow
def test_a_video_that_breaks_off_is_named_and_holds_nothing_up(rarely):
    found = value(rarely, "cutOff")
    assert "cannot play cut.mp4" in found["notice"] and found["go"]


def test_every_word_changes_with_the_language(answers):
    found = value(answers, "language")
    (language, korean, title), (other, english, other_title) = found["first"], found["second"]
    assert (language, other) == ("ko", "en") and title != other_title
    assert not [c for c in english.replace("한국어", "") if "가" <= c <= "힣"]
    shared = {line for line in korean.splitlines() if line.strip()} & {
        line for line in english.splitlines() if line.strip()
    }
    assert not [line for line in shared if any(c.isalpha() for c in line) and line not in ("한국어", "English")]


@pytest.mark.slow
def test_the_keyboard_reaches_everything_and_the_focus_is_seen(rarely):
    found = value(rarely, "keyboard")
    names = [item["name"] for item in found["focused"]]
    assert names[:5] == ["ko", "en", "actor-file", "camera", "camera"]  # the source's radio buttons, then the button
    assert all(item["outline"] == "solid" for item in found["focused"][:5])
    assert found["language"] == "ko" and found["source"] == "file"


@pytest.mark.slow
def test_below_a_path_of_a_host_that_knows_few_types_the_page_gives_the_same_score(rarely, hosts):
    found = value(rarely, "below")
    assert found["score"] == value(rarely, "files")["score"]
    assert found["errors"] == found["missing"] == [] and found["unstarted"] == 0
    assert all(url.startswith((hosts["below"], "blob:", "data:")) for url in found["requests"])


@pytest.mark.slow
def test_axe_has_no_objection_in_any_state_and_nothing_is_wider_than_a_phone(folder, hosts):
    videos = {name: str(folder / f"{name}.webm") for name in ("actor", "user", "broken", "long")}
    found = value(drive(hosts, {"accessible": {**videos, "bare": hosts["bare"]}}), "accessible")
    assert found["found"] == found["wider"] == []
    states = [state for state, _ in found["checked"]]
    assert len(states) == len(set(states)) == 2 * 9
    for _, passed in found["checked"]:
        assert {"color-contrast", "label", "button-name", "region"} <= set(passed)


@pytest.mark.slow
def test_a_file_that_does_not_arrive_is_named_and_a_model_is_asked_for_where_it_helps(rarely):
    said = value(rarely, "lost")
    assert said["model"]["notice"].startswith("The model could not be loaded (model.onnx: ")
    assert said["runtime"]["notice"].startswith("The model could not be loaded (ort-wasm-simd-threaded.packed: ")
    assert said["detector"]["notice"].startswith("The face detector could not be loaded (")
    assert [said[name]["picker"] for name in ("model", "runtime", "detector")] == [True, True, False]
    assert all(item["errors"] == [] for item in said.values())


def test_a_visitor_without_a_gpu_gets_less_than_7_megabytes_without_the_model(folder):
    """Of which a model may have 8, and the page is below 15; those with a GPU get 9."""
    cpu, gpu = (weight(folder / "bare", kind) for kind in ("cpu", "gpu"))
    assert 4e6 < cpu < 7e6 < gpu < 10e6
