"""The same block in sibling scripts is the same text, so that a fix in one folder cannot be forgotten in another."""

import pytest

from tests.tools.scripts import ROOT

TASKS = ["friends", "klue_re", "nsmc"]  # the folders that train with the Trainer
# (script, where the block begins, where it ends: the beginning of the line after it, or None for the end of the file)
BLOCKS = {
    "train-imports-and-run": ("train.py", "    # torch and transformers are imported only now", "    # Read: "),
    "train-checks": ("train.py", "        for name, rows in examples.items():\n", "    # Split: "),
    "train-split": ("train.py", "    labels, groups = labels_of(", ', has_eval="eval" in examples)'),
    "train-adversarial": ("train.py", "    if args.adversarial_validation:\n", "    # Tokenize once for all folds."),
    "train-folds-and-collect": ("train.py", "    seed = training_args.seed\n", None),
    "predict-imports-and-start": (
        "predict.py",
        "    # torch and transformers are imported only now",
        "                if rows is None:",
    ),
    "predict-average-and-submission": ("predict.py", "    logits = average(parts, weights)", None),
}
# klue_re has rows, metrics and submissions of its own: there the blocks stop before these and go on behind them.
KLUE_RE_BLOCKS = {
    "train-imports": (
        "train.py",
        "    # torch and transformers are imported only now",
        "    from common.inference import",
    ),
    "train-run": ("train.py", "    run = Run(args, training_args, TASK_DIR)\n", "    # Read: "),
    "train-checks": (
        "train.py",
        "        for name, rows in examples.items():\n",
        "            sample_ids = find_sample_ids(",
    ),
    "train-split": ("train.py", "    labels, groups = labels_of(", ', has_eval="eval" in examples)'),
    "train-adversarial": ("train.py", "    if args.adversarial_validation:\n", "    # Tokenize once for all folds."),
    "train-folds": ("train.py", "    seed = training_args.seed\n", "        save_fold("),
    "train-collect": ("train.py", "        del trainer  # with its optimizer", "        results = collect("),
    "train-end": ("train.py", "        push_folds(run, training_args)\n", None),
    "predict-start": ("predict.py", "    runs = [(finished_folds(run_dir)", "    parts, weights, sample_ids ="),
    "predict-folds": ("predict.py", "    with TemporaryDirectory() as cache:\n", "                if rows is None:"),
    "predict-average": (
        "predict.py",
        "                parts.append(predict_logits(",
        "    if accelerator.is_main_process:",
    ),
    "predict-end": ("predict.py", "    accelerator.wait_for_everyone()\n", None),
}
# hand_signal has a loop of its own.
HAND_SIGNAL_BLOCKS = {
    "train-run": ("train.py", "    run = Run(args, training_args, TASK_DIR)\n", "    # Read: "),
    "train-split": ("train.py", "    labels, groups = labels_of(", ', has_eval="eval" in examples)'),
    "train-skip": ("train.py", "        if run.is_done(fold)", "            continue\n"),
    "train-end": ("train.py", "        push_folds(run, training_args)\n", '    print_once(f"done: '),
    "predict-start": ("predict.py", "    runs = [(finished_folds(run_dir)", "    parts, weights, sample_ids ="),
    "predict-write": ("predict.py", "        path = Path(args.submission_file)\n", "        write_predictions("),
    "predict-end": ("predict.py", "    accelerator.wait_for_everyone()\n", None),
}
# reon_face has images and no tokenizer, and trains in stages.
REON_FACE_BLOCKS = {
    "train-run": ("train.py", "    run = Run(args, training_args, TASK_DIR)\n", "    # Read: "),
    "train-split": ("train.py", "    labels, groups = labels_of(", ', has_eval="eval" in examples)'),
    "train-folds": ("train.py", "    seed = training_args.seed\n", "        training_args.seed = seed + fold\n"),
    "train-parts": ("train.py", "            parts = {name: datasets[name]", "            logits = {"),
    "train-collect": ("train.py", "        del trainer  # with its optimizer", "    if args.fold is None:\n"),
    "train-end": ("train.py", "        push_folds(run, training_args)\n", '    print_once(f"done: '),
    "predict-start": ("predict.py", "    runs = [(finished_folds(run_dir)", "    parts, weights, sample_ids ="),
    "predict-write": ("predict.py", "        path = Path(args.submission_file)\n", "        write_predictions("),
    "predict-end": ("predict.py", "    accelerator.wait_for_everyone()\n", None),
}


def block(task, script, begin, end):
    text = (ROOT / task / script).read_text(encoding="utf-8")
    assert text.count(begin) == 1, f"{task}/{script}: {begin!r} occurs {text.count(begin)} times"
    found = begin + text.partition(begin)[2]
    assert end is None or found.count(end) == 1, (
        f"{task}/{script}: {end!r} occurs {found.count(end)} times after {begin!r}"
    )
    found = found if end is None else found.partition(end)[0]
    return found.replace("LABEL_NAMES", "label_names").replace(
        "ID_COLUMN", "id_column"
    )  # where the data say what they are


CASES = {f"nsmc-{name}": ("nsmc", place) for name, place in BLOCKS.items()}
CASES |= {f"klue_re-{name}": ("klue_re", place) for name, place in KLUE_RE_BLOCKS.items()}
CASES |= {f"hand_signal-{name}": ("hand_signal", place) for name, place in HAND_SIGNAL_BLOCKS.items()}
CASES |= {f"reon_face-{name}": ("reon_face", place) for name, place in REON_FACE_BLOCKS.items()}


@pytest.mark.parametrize(("task", "place"), CASES.values(), ids=CASES)
def test_the_block_is_the_same_in_every_task_folder(task, place):
    assert block(task, *place).splitlines() == block("friends", *place).splitlines()


@pytest.mark.parametrize("task", [*TASKS, "hand_signal", "reon_face"])
@pytest.mark.parametrize("script", ["train.py", "predict.py"])
def test_the_docstring_is_commands_of_the_folders_own_scripts_and_presets(task, script):
    text = (ROOT / task / script).read_text(encoding="utf-8")
    commands = [line for line in text.split('"""')[1].splitlines() if line.startswith("accelerate launch ")]
    assert len(commands) >= 3
    for command in commands:
        assert command.split()[2] == f"{task}/{script}"
        for word in command.split():
            assert not word.endswith(".yaml") or (ROOT / word).exists()
