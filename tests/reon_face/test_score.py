"""The score of reon_face: its algorithm on made-up curves, the same in JavaScript, and score.py on drawn
performances."""

import json
import re
import shutil
import subprocess
from dataclasses import asdict

import av
import numpy as np
import pytest

from common.console import InputError
from reon_face.model import preprocessing_of
from reon_face.sample.draw import EMOTIONS
from reon_face.scoring.performance import (
    FACE_PIXELS,
    MAX_GAP,
    RATE,
    VIEWS,
    WARP_PENALTY,
    Comparison,
    Performance,
    align,
    compare,
    distances,
    resample,
    shift_costs,
    worst_moments,
)
from tests.tools.faces import (
    TASK,
    acted,
    assert_raised,
    read_video,
    reencode,
    save_model,
    script_of,
    watched,
    write_video,
)
from tests.tools.scripts import assert_refused, help_without_torch, siblings_of, worker_of
from tests.tools.videos import BROKEN, number_of_bits, trimmed, write_bits, write_broken

ALIGNMENTS, DISTANCES = ("dtw", "offset", "none"), ("l1", "js")


def curve(times, speed=1.0, late=0.0, classes=7):
    """Probabilities (N, C) that wander smoothly: a scene played at a speed, late by some seconds."""
    t = (np.asarray(times) - late) * speed
    logits = np.stack([2 * np.sin(t * (0.7 + 0.3 * c) + c) for c in range(classes)], axis=1)
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def performance(seconds=6.0, fps=10.0, **scene):
    times = np.arange(round(seconds * fps)) / fps
    return Performance(times, curve(times, **scene), seconds)


def random_performance(random, classes=7):
    count, fps = random.integers(5, 90), random.choice([5, 12.5, 29.97, 60])
    rows = random.dirichlet(np.full(classes, 0.5), count)
    rows[random.random(count) < 0.2] = np.nan
    return Performance(np.arange(count) / fps, rows, count / fps)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_performance_against_itself_scores_100(alignment, distance):
    found = compare(performance(), performance(), Comparison(alignment, distance))
    assert found.score == pytest.approx(100)
    assert not found.shifts.any()


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_frame_rate_does_not_matter(distance):
    for fps in (6, 25, 60):
        assert compare(performance(fps=10), performance(fps=fps), Comparison("none", distance)).score > 97


@pytest.mark.parametrize("kind", DISTANCES)
def test_a_distance_is_0_of_equals_1_of_opposites_and_symmetric(kind):
    random = np.random.default_rng(0)
    p, q = random.dirichlet(np.ones(7), (2, 50))
    assert distances(p, p, kind) == pytest.approx(0, abs=1e-7)
    assert distances(np.eye(7)[0], np.eye(7)[1], kind) == pytest.approx(1)
    assert distances(p, q, kind) == pytest.approx(distances(q, p, kind))
    assert ((distances(p, q, kind) > 0) & (distances(p, q, kind) < 1)).all()


def test_js_is_scipys():
    from scipy.spatial.distance import jensenshannon

    p, q = np.random.default_rng(0).dirichlet(np.full(7, 0.3), (2, 50))
    assert distances(p, q, "js") == pytest.approx([jensenshannon(a, b, base=2) for a, b in zip(p, q, strict=True)])


def test_a_late_user_is_found_by_offset_and_dtw_and_costs_what_the_scene_lacks():
    actor, late = performance(8.0), performance(9.0, late=0.7)
    found = {alignment: compare(actor, late, Comparison(alignment)) for alignment in ALIGNMENTS}
    assert found["none"].score < 92 < 98.5 < found["offset"].score
    assert np.median(found["offset"].shifts) == pytest.approx(0.7)
    assert found["dtw"].score >= found["offset"].score - 1e-9


def test_a_user_who_drifts_is_followed_by_dtw_only():
    actor, slow = performance(8.0), performance(9.0, speed=0.92)
    found = {alignment: compare(actor, slow, Comparison(alignment)).score for alignment in ALIGNMENTS}
    assert found["dtw"] > 97.5
    assert found["dtw"] > found["offset"] + 1 > found["none"] + 1


def test_no_alignment_is_better_than_a_freer_one():
    random = np.random.default_rng(1)
    for _ in range(20):
        actor, user = random_performance(random), random_performance(random)
        none, offset, dtw = (
            compare(actor, user, Comparison(alignment)).score for alignment in ("none", "offset", "dtw")
        )
        assert none <= offset + 1e-9 and offset <= dtw + 1e-9


def test_dtw_finds_the_cheapest_of_all_paths():
    random = np.random.default_rng(2)
    costs = random.random((6, 5))

    def paths(t, column):
        if t == len(costs):
            return [[]]
        nexts = range(5) if column is None else range(max(0, column - 1), min(5, column + 2))
        return [[c, *rest] for c in nexts for rest in paths(t + 1, c)]

    def total(path):
        return sum(costs[t, c] for t, c in enumerate(path)) + WARP_PENALTY * np.abs(np.diff(path)).sum()

    found = align(costs, "dtw")
    assert total(found) == pytest.approx(min(map(total, paths(0, None))))
    assert np.abs(np.diff(found)).max() <= 1


@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_leaving_a_part_out_is_never_rewarded(alignment):
    """Who hides the face, or stops, in the worst second does not score higher."""
    actor, user = performance(6.0), performance(6.0, late=0.4, speed=1.1)
    whole = compare(actor, user, Comparison(alignment)).score
    hidden = user.probabilities.copy()
    hidden[20:40] = np.nan
    assert compare(actor, Performance(user.times, hidden, 6.0), Comparison(alignment)).score < whole
    assert (
        compare(actor, Performance(user.times[:30], user.probabilities[:30], 3.0), Comparison(alignment)).score < whole
    )
    nothing = Performance(user.times, np.full_like(hidden, np.nan), 6.0)
    assert compare(actor, nothing, Comparison(alignment)).score == 0


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_no_option_makes_everything_100(alignment, distance):
    """The loosest values that score.py takes; the emotions are opposite."""
    times = np.arange(60) / 10
    actor, user = (Performance(times, np.tile(np.eye(7)[label], (60, 1)), 6.0) for label in (0, 1))
    loosest = Comparison(alignment, distance, smoothing=1.0, max_shift=5.0)
    assert compare(actor, user, loosest).score == pytest.approx(0)


def test_moments_without_the_actors_face_do_not_count_and_short_gaps_are_bridged():
    actor = performance(6.0)
    rows = actor.probabilities.copy()
    rows[10:12] = np.nan  # 0.2 s
    rows[30:50] = np.nan  # 2 s
    gapped = Performance(actor.times, rows, 6.0)
    found = compare(gapped, actor, Comparison("none"))
    missing = np.isnan(found.costs)
    assert not missing[:30].any()
    assert missing.sum() == pytest.approx(20 - 2 * MAX_GAP * RATE, abs=2)
    assert found.score > 94
    with pytest.raises(InputError, match="never seen"):
        compare(Performance(actor.times, np.full_like(rows, np.nan), 6.0), actor, Comparison())


def test_costs_beyond_the_users_video_are_1():
    costs = shift_costs(np.full((4, 2), 0.5), np.full((2, 2), 0.5), 1, "l1")
    assert costs.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]]


def test_a_narrow_kernel_takes_the_nearest_frame_and_does_not_underflow():
    found = resample(Performance(np.array([0.0, 0.21]), np.array([[1.0, 0], [0, 1]]), 0.4), 0.001)
    assert found.tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


@pytest.mark.parametrize("smoothing", [0.05, 0.3, 1.0])
def test_a_curve_is_the_weighted_mean_over_all_frames(smoothing):
    found = performance(60.0, fps=7)
    squared = (np.arange(600)[:, None] / RATE - found.times) ** 2
    weights = np.exp((squared.min(axis=1, keepdims=True) - squared) / (2 * smoothing**2))
    expected = weights @ found.probabilities / weights.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(resample(found, smoothing), expected, atol=1e-12)


def test_the_worst_moments_are_apart_and_in_order_of_cost():
    found = compare(performance(8.0), performance(8.0, late=2.0), Comparison("none"))
    worst = worst_moments(found, 3)
    assert len(worst) == 3
    assert found.costs[worst[0]] == np.nanmax(found.costs)
    assert sorted(found.costs[worst], reverse=True) == found.costs[worst].tolist()
    assert min(abs(found.times[a] - found.times[b]) for a in worst for b in worst if a != b) >= 1.0


JAVASCRIPT = """
import { readFileSync } from "node:fs";
const { compare, worstMoments, DEFAULTS, RATE, MAX_GAP, FACE_PIXELS, VIEWS } = await import(process.argv[1]);
const cases = JSON.parse(readFileSync(0, "utf8"));
const results = cases.map((one) => compare(...one)).map((found) => ({ ...found, worst: worstMoments(found, 3) }));
console.log(JSON.stringify({ results, constants: [RATE, MAX_GAP, FACE_PIXELS, VIEWS], defaults: DEFAULTS }));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_scores_as_python_does():
    random, cases, expected = np.random.default_rng(3), [], []
    for alignment in ALIGNMENTS:
        for distance in DISTANCES:
            for _ in range(6):
                how = Comparison(alignment, distance, random.choice([0.05, 0.2, 1.0]), random.choice([0.0, 0.25, 1.0]))
                both = random_performance(random), random_performance(random)
                expected.append(compare(*both, how))
                options = {
                    "alignment": alignment,
                    "distance": distance,
                    "smoothing": how.smoothing,
                    "maxShift": how.max_shift,
                }
                cases.append([*map(for_javascript, both), options])
    script = ["node", "--input-type=module", "--eval", JAVASCRIPT, (TASK / "web" / "src" / "score.js").as_uri()]
    output = subprocess.run(script, input=json.dumps(cases), capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    found = json.loads(output.stdout)
    assert found["constants"] == [RATE, MAX_GAP, FACE_PIXELS, [list(view) for view in VIEWS]]
    assert list(found["defaults"].values()) == list(asdict(Comparison()).values())
    for here, there in zip(expected, found["results"], strict=True):
        for name, key in (
            ("score", "score"),
            ("still_score", "stillScore"),
            ("mean_distance_score", "meanDistanceScore"),
        ):
            assert there[key] == pytest.approx(getattr(here, name), abs=1e-9)
        assert there["shifts"] == here.shifts.tolist()
        assert there["worst"] == worst_moments(here, 3)


def for_javascript(performance):
    rows = [None if np.isnan(row[0]) else row.tolist() for row in performance.probabilities]
    return {"times": performance.times.tolist(), "probabilities": rows, "duration": performance.duration}


# ---- score.py


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("score")
    save_model(folder / "model")
    acted(folder / "actor.webm", [("happy", 1.0), ("surprise", 1.0)], 2)
    acted(folder / "user.webm", [("angry", 1.0), ("sad", 1.0)], 5)
    reencode(folder / "actor.webm", folder / "again.webm", (480, 360), 20)
    write_video(folder / "empty.webm", [np.full((120, 160, 3), 128, np.uint8)] * 12, 12)
    (folder / "broken.mp4").write_text("not a video\n")
    for name in ("no_model", "damaged", "incomplete"):
        (folder / name).mkdir()
    (folder / "incomplete" / "model.json").write_text("{}")
    description = {"model": "model.onnx", "label_names": EMOTIONS, **asdict(preprocessing_of(folder / "model"))}
    (folder / "damaged" / "model.json").write_text(json.dumps(description))
    (folder / "damaged" / "model.onnx").write_text("no model")
    return folder


worker = worker_of(TASK)
script = script_of("score")


def score(worker, folder, tmp_path, actor, user, *argv):
    command = [
        folder / actor,
        folder / user,
        "--model",
        folder / "model",
        "--output_dir",
        tmp_path,
        "--torch_num_threads",
        "1",
        *argv,
    ]
    code, errors = worker.run(folder, "score.py", *command)
    assert code == 0, errors
    return json.loads((tmp_path / "score.json").read_text()), worker.printed


@pytest.mark.slow
def test_a_video_against_itself_again_and_another(worker, folder, tmp_path):
    itself, printed = score(worker, folder, tmp_path, "actor.webm", "actor.webm")
    assert itself["score"] == pytest.approx(100)
    assert "score 100.0 of 100" in printed
    again, _ = score(worker, folder, tmp_path, "actor.webm", "again.webm")
    other, printed = score(worker, folder, tmp_path, "actor.webm", "user.webm")
    assert again["score"] > other["score"] + 10
    assert re.search(r"\d\.\d s: distance 0\.\d\d, most in \w+: actor 0\.\d\d, user 0\.\d\d", printed)
    assert other["actor"]["moments"] == 20 and other["actor"]["moments_with_face"] > 15
    assert len(other["times"]) == len(other["costs"]) == len(other["actor_probabilities"]) == 20
    worst = other["worst"][0]
    t = round(worst["time"] * RATE)
    label = other["label_names"].index(worst["label"])
    assert worst["cost"] == max(cost for cost in other["costs"] if cost is not None)
    assert worst["actor_probability"] == other["actor_probabilities"][t][label]
    seen = [cost for cost in other["costs"] if cost is not None]
    assert other["score"] == pytest.approx(100 * (1 - np.mean(seen)))
    assert (tmp_path / "score.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_options_reach_the_comparison(worker, folder, tmp_path):
    options = ["--alignment", "none", "--distance", "js", "--smoothing", "0.4", "--face_pixels", "24"]
    found, _ = score(worker, folder, tmp_path, "actor.webm", "user.webm", *options)
    assert (found["alignment"], found["distance"], found["smoothing"], found["face_pixels"]) == ("none", "js", 0.4, 24)
    assert not any(found["shifts"])
    plain, _ = score(worker, folder, tmp_path, "actor.webm", "user.webm")
    assert found["score"] != plain["score"]
    assert {key: plain[key] for key in asdict(Comparison())} == asdict(Comparison())


def test_a_user_without_a_face_scores_0_and_is_noted(worker, folder, tmp_path):
    found, printed = score(worker, folder, tmp_path, "actor.webm", "empty.webm")
    assert found["score"] == 0
    assert found["user"]["moments_with_face"] == 0
    assert "the user's face is found in only 0% of the moments" in printed


def test_frames_without_times_are_refused(folder, tmp_path):
    frames, _ = read_video(folder / "actor.webm")
    with av.open(str(tmp_path / "raw.h264"), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="raw.h264.*its frames have no times"):
        watched([tmp_path / "raw.h264"], folder / "model")


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_a_video_that_breaks_off_is_refused_though_its_format_does_not_count_frames(suffix, folder, tmp_path):
    frames, rate = read_video(folder / "actor.webm")
    video = tmp_path / f"cut{suffix}"
    write_video(video, frames, rate)
    [(found, _)] = watched([video], folder / "model")
    assert len(found.times) == round(len(frames) / rate * RATE)
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with pytest.raises(InputError, match=r"cut.*of at least [\d,]+ bytes are there, is the file truncated"):
        watched([video], folder / "model")


def test_a_video_that_was_trimmed_without_decoding_it_is_whole(tmp_path):
    path = trimmed(write_bits(tmp_path / "whole.mp4", "mpeg4"), tmp_path / "c.mp4", 2.3)
    with siblings_of(TASK):
        from scoring.watch import read_frames
        from shards import video_frames

        assert [number_of_bits(frame) for _, frame in read_frames(path)] == list(range(23))
        assert [number_of_bits(frame) for _, frame in video_frames(path, 1)] == list(range(23))


def test_frames_that_stay_on_display_have_one_probability(folder):
    """A video of 5 frames a second is looked at 10 times a second."""
    frames, rate = read_video(folder / "actor.webm")
    write_video(folder / "slow.webm", frames[:: round(rate / 5)], 5)
    [(found, faces)] = watched([folder / "slow.webm"], folder / "model")
    assert found.times == pytest.approx(np.arange(len(found.times)) / RATE)
    assert found.duration == pytest.approx(len(frames[:: round(rate / 5)]) / 5)
    np.testing.assert_array_equal(found.probabilities[::2], found.probabilities[1::2])
    assert len(faces) == len(found.times)


REFUSED = {
    "no-actor": (["no.mp4", "user.webm"], ["no.mp4", "no such file"]),
    "no-face": (["empty.webm", "user.webm"], ["empty.webm", "actor's face is never seen"]),
    "not-a-video": (["actor.webm", "broken.mp4"], ["broken.mp4", "cannot be decoded"]),
    "one-video": (["actor.webm"], ["required", "user"]),
    "no-model": (["actor.webm", "user.webm", "--model", "no_model"], ["no_model", "finished fold"]),
    "incomplete-export": (
        ["actor.webm", "user.webm", "--model", "incomplete"],
        ["incomplete/model.json", "image_size"],
    ),
    "damaged-export": (["actor.webm", "user.webm", "--model", "damaged"], ["damaged/model.onnx", "cannot be loaded"]),
    "alignment": (["actor.webm", "user.webm", "--alignment", "best"], ["alignment", "best", "dtw"]),
    "smoothing": (["actor.webm", "user.webm", "--smoothing", "60"], ["smoothing", "60", "between 0.01 and 1"]),
    "max-shift": (["actor.webm", "user.webm", "--max_shift", "nan"], ["max_shift", "nan"]),
    "detector": (["actor.webm", "user.webm", "--detector", "hare"], ["detector", "hare", "haar"]),
    "option": (["actor.webm", "user.webm", "--distanc", "l1"], ["--distanc", "--distance"]),
}


@pytest.mark.parametrize(("argv", "fragments"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_named(script, folder, tmp_path, argv, fragments, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [str(folder / word) if (folder / word).exists() else word for word in argv]
    model = [] if "--model" in argv else ["--model", str(folder / "model")]
    argv = [*paths, *model, "--output_dir", "out", "--torch_num_threads", "1"]
    assert_raised(lambda: script.main(*script.parse_args(argv)), tmp_path, fragments)


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if "image" not in kind])
def test_a_broken_video_is_named(folder, tmp_path, kind):
    broken = write_broken(tmp_path / "videos", kind)
    with pytest.raises(InputError, match=f"{re.escape(broken.name)}: cannot be decoded"):
        watched([broken], folder / "model")


def test_score_py_says_so_in_one_line_and_ends_with_exit_code_2(worker, folder, tmp_path):
    argv = [str(folder / "actor.webm"), str(folder / "broken.mp4"), "--model", str(folder / "model")]
    assert_refused(worker, tmp_path, "score.py", [*argv, "--output_dir", "out"], ["broken.mp4: cannot be decoded"])


@pytest.mark.parametrize("script", ["score.py", "export.py"])
def test_help_does_not_import_torch(script, tmp_path):
    output = help_without_torch(TASK / script, tmp_path)
    assert "--output_dir" in output and f"reon_face/{script}" in output
