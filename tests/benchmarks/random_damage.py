"""Random damage to a small run of a random folder: it must end with the right bits, or with exit code 2 and a sentence.

    python tests/benchmarks/random_damage.py --damages 200 --output_dir OUT
    python tests/benchmarks/random_damage.py --damages 1 --seed 17 --output_dir OUT   # the one that a line names

A run whose first fold is done and whose second one is half way is damaged in a file of its own or of its data, and
resumed; or a finished run is damaged, and predicts. Prints a line for each kind of damage, and one with its seed for
each that ends otherwise. Exit code 1 where there was one. Filling a disk needs root and Linux (a tmpfs).
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
SHARED = ["--num_folds", "2", "--num_train_epochs", "2", "--torch_num_threads", "1", "--disable_tqdm", "true"]
# Folder -> data files or folders of its sample by option, and what makes a run of it small.
FOLDERS = {
    "friends": ({"train_file": "train.json", "test_file": "test.csv"}, []),
    "nsmc": ({"train_file": "train.txt", "test_file": "test.csv"}, []),
    "klue_re": ({"train_file": "train.tsv", "test_file": "test.tsv", "ner_file": "ner.tsv"}, []),
    "reon_face": ({"train_file": "train", "test_file": "test"}, ["--image_size", "32", "--max_train_samples", "56"]),
    "hand_signal": (
        {"train_file": "train", "test_file": "test"},
        ["--max_train_samples", "24", "--num_frames", "8", "--crop_size", "48", "--cache_dir", "cache"],
    ),
}
TEXTS = (".json", ".csv", ".tsv", ".txt", ".yaml")
# Runs the command lines that stdin holds as JSON, one after the other, and answers with their exit codes.
WORKER = """
import json, os, sys
from common.workers.child import run
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    job = json.loads(line)
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1), os.dup2(log, 2), os.close(log)
    os.chdir(job["folder"])
    before = set(sys.modules)
    code = run(job["argv"])
    for name in set(sys.modules) - before:
        folder = os.path.dirname(getattr(sys.modules[name], "__file__", None) or "")
        if "." not in name and os.path.exists(os.path.join(folder, "train.py")):
            del sys.modules[name]
    sys.stdout.flush(), sys.stderr.flush()
    print(code, file=answers, flush=True)
"""


class Case:
    """A folder's small run: its finished and its half-way state, and how to start it."""

    def __init__(self, task: str, base: Path):
        self.task = task
        self.base = base / task
        files, self.small = FOLDERS[task]
        self.files = {**files, "sample_submission_file": "sample_submission.csv"}
        self.worker: subprocess.Popen | None = None

    def argv(self, script: str = "train.py", *more: str) -> list[str]:
        """Arguments of a start in a folder that holds data/ and run/."""
        files = {name: f"data/{file}" for name, file in self.files.items()}
        if script == "predict.py":
            files = {name: file for name, file in files.items() if name != "train_file"}
            options = ["--run_dir", "run", "--submission_file", "s.csv", "--torch_num_threads", "1"]
        else:
            demo = str(ROOT / self.task / "configs" / "demo.yaml")
            options = ["--config", demo, "--output_dir", "run", *SHARED, *self.small]
        words = [word for name, file in files.items() for word in (f"--{name}", file)]
        return [str(ROOT / self.task / script), *words, *options, *more]

    def start(self, folder: Path, argv: list[str]) -> tuple[int, str]:
        """Exit code and output, in the worker."""
        if self.worker is None or self.worker.poll() is not None:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            self.worker = subprocess.Popen([sys.executable, "-c", WORKER], text=True, env=ENVIRONMENT, **pipes)
        log = folder.parent / "log.txt"
        job = {"log": str(log), "folder": str(folder), "argv": argv}
        print(json.dumps(job), file=self.worker.stdin, flush=True)
        answer = self.worker.stdout.readline()
        return int(answer or -1), log.read_text(encoding="utf-8", errors="replace")

    def prepare(self) -> None:
        """base/<task>/{whole,half}, each with data/ and run/: made once."""
        if (self.base / "ready").exists():
            return
        shutil.rmtree(self.base, ignore_errors=True)
        whole = self.base / "whole"
        shutil.copytree(ROOT / self.task / "sample", whole / "data")
        self.must(whole, self.argv())
        shutil.copytree(whole / "data", self.base / "half" / "data")
        self.must(self.base / "half", self.argv("train.py", "--fold", "0"))
        self.must(self.base / "half", self.argv("train.py", "--fold", "1", "--stop_after_epoch", "1"))
        self.must(whole, self.argv("predict.py"))
        (self.base / "ready").touch()

    def must(self, folder: Path, argv: list[str]) -> None:
        code, log = self.start(folder, argv)
        if code:
            raise SystemExit(f"{self.task}: exit code {code}: {log[-2000:]}")

    def is_right(self, folder: Path, predicted: bool) -> bool:
        """Whether the logits are those of the run that nobody damaged."""
        names = ["s.logits.npz"] if predicted else ["run/oof_logits.npz", "run/test_logits.npz"]
        for name in names:
            with np.load(folder / name) as a, np.load(self.base / "whole" / name) as b:
                if any(a[key].tobytes() != b[key].tobytes() for key in b.files):
                    return False
        return True


def truncate(path: Path, chance: random.Random) -> None:
    os.truncate(path, chance.randrange(max(1, path.stat().st_size)))


def flip_bits(path: Path, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(chance.randrange(1, 9)):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


def delete(path: Path, chance: random.Random) -> None:
    path.unlink()


def empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def swap(path: Path, chance: random.Random) -> None:
    other = chance.choice([p for p in path.parent.iterdir() if p.is_file()])
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


def duplicate_line(path: Path, chance: random.Random) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    number = chance.randrange(len(lines))
    path.write_bytes(b"".join([*lines[: number + 1], *lines[number:]]))


def change_encoding(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode(chance.choice(["utf-16", "cp949"]), "replace"))


def rename(path: Path, chance: random.Random) -> None:
    path.rename(path.with_name(f"{path.name}.old"))


def chmod(path: Path, chance: random.Random) -> None:
    path.chmod(0)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "truncate": truncate,
    "flip bits": flip_bits,
    "delete": delete,
    "empty": empty,
    "swap two files": swap,
    "duplicate a line": duplicate_line,
    "change encoding": change_encoding,
    "rename": rename,
    "chmod": chmod,
}
KINDS = [*DAMAGES, "fill the disk", "kill"]


def choose_file(folder: Path, kind: str, chance: random.Random) -> Path:
    """A file of the run, or, less often, of its data, that this kind can damage."""
    part = "data" if chance.random() < 0.25 else "run"
    files = sorted(p for p in (folder / part).rglob("*") if p.is_file() and p.stat().st_size)
    if kind in ("duplicate a line", "change encoding"):
        files = [p for p in files if p.suffix in TEXTS]
    return chance.choice(files)


def judge(case: Case, folder: Path, code: int, log: str, predicted: bool) -> str:
    """ "right bits", "refused", or what it did instead."""
    errors = [line for line in log.splitlines() if line.startswith("error: ")]
    if code == 2:
        return (
            "refused"
            if len(errors) == 1 and "Traceback" not in log
            else f"exit code 2 and not one sentence: {log[-500:]}"
        )
    if code:
        return f"exit code {code}: {log.strip().splitlines()[-1] if log.strip() else ''}"
    return "right bits" if case.is_right(folder, predicted) else "OTHER BITS and exit code 0"


def damage_file(case: Case, folder: Path, kind: str, chance: random.Random) -> tuple[str, str]:
    """(what was damaged, how it ended) of a resume, or of a prediction of the finished run."""
    predicted = chance.random() < 0.3
    shutil.copytree(case.base / ("whole" if predicted else "half"), folder, symlinks=True)
    path = choose_file(folder, kind, chance)
    DAMAGES[kind](path, chance)
    argv = case.argv("predict.py") if predicted else case.argv("train.py", "--resume")
    code, log = case.start(folder, argv)
    return str(path.relative_to(folder)), judge(case, folder, code, log, predicted)


def kill(case: Case, folder: Path, chance: random.Random) -> tuple[str, str]:
    """Resume, SIGKILL at a random moment, resume again."""
    shutil.copytree(case.base / "half", folder)
    argv = case.argv("train.py", "--resume")
    with open(folder.parent / "killed.txt", "w") as log:
        process = subprocess.Popen([sys.executable, *argv], cwd=folder, stdout=log, stderr=log, env=ENVIRONMENT)
        moment = chance.uniform(3, 25)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
    code, log = case.start(folder, argv)
    return f"after {moment:.1f} s", judge(case, folder, code, log, predicted=False)


def fill_disk(case: Case, folder: Path, chance: random.Random) -> tuple[str, str]:
    """Resume on a disk that gets full on the way, then, with room again, once more."""
    size = sum(path.stat().st_size for path in (case.base / "half").rglob("*") if path.is_file())
    room = chance.randrange(10_000, 6_000_000)
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + 2**20 + room}", "tmpfs", folder], check=True)
    try:
        inside = folder / "case"
        shutil.copytree(case.base / "half", inside)
        code, log = case.start(inside, case.argv("train.py", "--resume"))
        first = judge(case, inside, code, log, predicted=False)
        if first != "refused":
            return f"{room:,} bytes free", first
        subprocess.run(["mount", "-o", f"remount,size={10 * size + 2**28}", folder], check=True)
        code, log = case.start(inside, case.argv("train.py", "--resume"))
        return f"{room:,} bytes free", judge(case, inside, code, log, predicted=False)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--damages", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the first damage; the others follow")
    parser.add_argument("--output_dir", type=Path, required=True)
    args = parser.parse_args()
    out = args.output_dir.resolve()
    cases = {task: Case(task, out / "base") for task in FOLDERS}
    counts: dict[str, Counter] = {kind: Counter() for kind in KINDS}
    bad = 0
    for seed in range(args.seed, args.seed + args.damages):
        chance = random.Random(seed)
        case = cases[chance.choice(list(FOLDERS))]
        kind = chance.choice(KINDS)
        case.prepare()
        folder = out / "trial" / "work"
        shutil.rmtree(out / "trial", ignore_errors=True)
        folder.parent.mkdir(parents=True)
        if kind == "fill the disk" and (os.geteuid() != 0 or sys.platform != "linux"):
            counts[kind]["not tried"] += 1
            continue
        special = {"kill": kill, "fill the disk": fill_disk}
        if kind in special:
            what, ending = special[kind](case, folder, chance)
        else:
            what, ending = damage_file(case, folder, kind, chance)
        good = ending in ("right bits", "refused")
        counts[kind][ending if good else "BAD"] += 1
        if not good:
            bad += 1
            print(f"--seed {seed}: {case.task}, {kind}, {what}: {ending}", flush=True)
    for kind, endings in counts.items():
        print(f"{kind}: " + ", ".join(f"{count} {ending}" for ending, count in endings.most_common()))
    print(f"{args.damages} damages, {bad} ended otherwise than with the right bits or one sentence and exit code 2")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
