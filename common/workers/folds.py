"""Folds beside each other, each in a process of its own, which trains it as --fold does.

The parent has read, tokenized and checked everything; it starts its own train.py in plan.workers children (child.py),
hands each its next fold when one is done, shows one bar for all, and goes on alone when the last is done. A child that
is killed, or has no memory left, gives its fold back, which another takes up at its last checkpoint; then one fewer is
trained at the same time. Any other error ends all.
"""

import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch.optim.optimizer import register_optimizer_step_post_hook
from tqdm.auto import tqdm

from common.console import InputError, print_once
from common.files import atomic_write
from common.guards.lock import hold_fold, shared_with_folds
from common.progress.lines import LINES, EpochLine
from common.workers import link
from common.workers.plan import Plan, make_plan, steps_of
from common.workers.process import Child
from common.workers.rows import hand_on

if TYPE_CHECKING:
    from common.run import Run

OUT_OF_MEMORY = ("no memory left", "out of memory")  # in the last line of a child's log


def numbers_beside(run: "Run", splits: list[tuple], rows: dict[str, Any], left: list[int]) -> Iterator[int]:
    """Train the folds that are left in processes of their own, and yield none; or yield those that are to be trained
    here: with several processes of a launcher, with --fold, in a child, or where one at a time is all that pays."""
    if run.args.fold is not None:
        yield from left if not left or link.LINK is None or not link.LINK.ends_with_parent else served(run, left)
        return
    if not left or run.state.num_processes > 1:
        yield from left
        return
    plan = make_plan(run.args, run.training_args, splits, rows)
    if run.args.torch_num_threads is None:
        if "fold_threads" in run.record:  # of an earlier start
            plan.threads = run.record["fold_threads"]
        elif any(run.dir.glob("fold*/checkpoints/*")) or any(
            run.dir.glob("fold*/fold.json")
        ):  # of --fold, or of before
            plan = Plan(1, [torch.get_num_threads()] * len(splits), [])
    run.record |= {"fold_workers": plan.workers, "fold_threads": plan.threads}
    run.write_record("running")
    if plan.workers == 1 or len(left) == 1:
        for number in left:
            torch.set_num_threads(plan.threads[number])
            yield number
        return
    steps = {number: steps_of(run.training_args, splits[number][0]) for number in left}
    with run.phase("train"), shared_with_folds(run.dir):
        Pool(run, plan, steps).train()
    run.done |= dict.fromkeys(left, True)


class Pool:
    """The children of a run, and what they are at.

    steps: of each fold that is to be trained, about as many as it takes.
    """

    def __init__(self, run: "Run", plan: Plan, steps: dict[int, int]):
        self.run = run
        self.plan = plan
        self.waiting = list(steps)
        self.steps = steps
        self.limit = plan.workers
        self.heard: queue.Queue[tuple[Child, dict[str, Any]]] = queue.Queue()
        self.at: dict[Child, int] = {}  # the fold of each child
        self.places: dict[Child, int] = {}  # a number of each, which stands for a GPU
        self.logs = run.dir / "logs"
        hidden = run.training_args.disable_tqdm or run.args.quiet  # None: where stderr is no terminal
        self.bar = tqdm(total=sum(steps.values()), desc="folds", unit="step", disable=hidden or None)
        self.seen = dict.fromkeys(steps, 0)  # steps of each fold that the bar shows

    def train(self) -> None:
        """Train all folds. Raises InputError with the sentence of the child that could not."""
        self.logs.mkdir(exist_ok=True)
        threads = ", ".join(str(self.plan.threads[fold]) for fold in self.waiting)
        self.say(f"folds {', '.join(map(str, self.waiting))}: {self.limit} at a time, threads {threads}; {self.logs}")
        try:
            while len(self.at) < self.limit and self.waiting:
                self.start()
            while self.at:
                child, line = self.heard.get()
                if child in self.at:
                    self.take(child, line)
        finally:
            self.bar.close()
            for child in self.at:
                child.kill()

    def start(self) -> None:
        """A new child for the next fold."""
        devices = self.plan.devices
        place = min(set(range(self.plan.workers)) - {self.places[child] for child in self.at})
        extra = {"CUDA_VISIBLE_DEVICES": devices[place % len(devices)]} if devices else {}
        child = Child(ends_with_parent=True, extra=extra)
        self.places[child] = place
        fold = self.waiting.pop(0)
        self.at[child] = fold
        hand_on(self.run.dir / "rows", self.run.dir / f"fold{fold}" / "rows")
        threading.Thread(target=self.listen, args=(child,), daemon=True).start()
        child.send(log=str(self.log(fold)), argv=self.command(fold), alone=self.limit == 1)

    def listen(self, child: Child) -> None:
        """Hand on what a child says, until it has ended."""
        while "code" not in (line := child.hear()):
            self.heard.put((child, line))
        self.heard.put((child, line))

    def take(self, child: Child, line: dict[str, Any]) -> None:
        """What to do when a child has said something."""
        fold = self.at[child]
        if "steps" in line:
            self.show(fold, line["steps"])
        elif "line" in line:
            self.say(*LINES.texts(EpochLine(**line["line"])))
        elif "done" in line:
            self.show(fold, line["steps_in_all"])
            self.bar.total += line["steps_in_all"] - self.steps[fold]
            self.say(*[text for text in self.lines(fold) if text.startswith(f"fold {fold}: ")][-1:])
            if self.waiting and len(self.at) <= self.limit:
                self.at[child] = fold = self.waiting.pop(0)
                threads = self.plan.threads[fold]
                child.send(fold=fold, log=str(self.log(fold)), threads=threads, alone=self.limit == 1)
            else:
                child.send(fold=None)
        elif line["code"] == 0:  # it has no fold any more
            del self.at[child]
            child.kill()
        else:
            self.give_back(child, fold, line["code"])

    def give_back(self, child: Child, fold: int, code: int) -> None:
        """A child has failed: go on with fewer, or end with its sentence."""
        del self.at[child]
        child.kill()
        last = ([*self.lines(fold)] or ["it said nothing"])[-1].removeprefix("error: ")
        killed = code < 0 or code == 130
        if killed:
            last = f"its process was killed (signal {abs(code)}), by hand or for want of memory"
        elif code != 2 and not any(words in last for words in OUT_OF_MEMORY):
            raise RuntimeError(f"fold {fold} has ended with a traceback, in {self.log(fold)}: {last}")
        if not (killed or any(words in last for words in OUT_OF_MEMORY)) or self.limit == 1:
            raise InputError(f"fold {fold}: {last}")
        self.limit -= 1
        self.say(f"fold {fold}: {last}; going on from its last checkpoint, with {self.limit} at a time")
        self.waiting.insert(0, fold)
        if len(self.at) < self.limit:
            self.start()

    def command(self, fold: int) -> list[str]:
        """The command line of a child's first fold."""
        run = self.run
        words = [str(Path(sys.argv[0]).resolve()), "--config", str(run.dir / "config.yaml")]
        words += ["--output_dir", str(run.dir), "--fold", str(fold), "--disable_tqdm", "true"]
        words += ["--torch_num_threads", str(self.plan.threads[fold])]
        return [*words, "--use_cpu", "true"] if run.training_args.use_cpu else words

    def log(self, fold: int) -> Path:
        return self.logs / f"fold{fold}.log"

    def lines(self, fold: int) -> Iterator[str]:
        """What a fold's processes have said, without empty lines."""
        text = self.log(fold).read_text(encoding="utf-8", errors="replace") if self.log(fold).exists() else ""
        return (line for line in text.splitlines() if line.strip())

    def show(self, fold: int, steps: int) -> None:
        """Move the bar."""
        self.bar.update(steps - self.seen[fold])
        self.seen[fold] = steps

    def say(self, *lines: str) -> None:
        """Print lines above the bar."""
        self.bar.clear()
        for line in lines:
            print_once(line)
        self.bar.refresh()


def served(run: "Run", left: list[int]) -> Iterator[int]:
    """In a child: its first fold, then those that its parent hands out."""
    parent = link.LINK
    hook = register_optimizer_step_post_hook(parent.count_step)
    number = run.args.fold
    while number is not None:
        parent.steps = 0
        if left:
            yield number
        parent.say(done=number, steps_in_all=parent.steps)
        line = parent.next()
        number = line["fold"]
        if number is not None:
            parent.alone = line["alone"]
            move_on(run, number, line["log"], line["threads"])
            left = [] if run.is_done(number) else [number]
    hook.remove()


def move_on(run: "Run", number: int, log: str, threads: int) -> None:
    """End a run of one fold, and begin that of the next, which has the same rows."""
    run.write_record("done")
    link.write_to(log)
    hold_fold(run.fold_dir(number))
    torch.set_num_threads(threads)
    run.args.fold = number
    run.config["torch_num_threads"] = threads
    run.record_dir = run.fold_dir(number)
    run.record["threads"] = threads
    run.seconds = {}
    with atomic_write(run.record_dir / "config.yaml") as file:
        yaml.safe_dump(run.config, file, sort_keys=False, allow_unicode=True)
    run.write_record("running")
