"""README.md of a new folder: its commands and what was found."""

import argparse
import shlex

from common.new.code import Plan

TUNED = ("f1", "macro_f1", "micro_f1", "exact_match")  # metrics that another decision than the likeliest may raise


def readme(plan: Plan, args: argparse.Namespace) -> str:
    """Commands in the order in which they are needed."""
    name = args.name
    sample = plan.files.get("sample_submission_file")
    test = plan.files.get("test_file", "test.csv")
    with_sample = f" \\\n    --sample_submission_file {name}/data/{sample}" if sample else ""
    check = f"{check_command(plan, name)}\n" if sample else ""
    tune = f"{tune_command(plan, name)}\n" if plan.metric in TUNED and plan.target.kind in ("labels", "several") else ""
    return f"""# {plan.name}

{", ".join(plan.roles.text_columns)} -> {", ".join(plan.target.columns)}: {plan.target.kind}, measured by {plan.metric}.
Made by `python -m common.new` from {plan.recipe}; the contest's files lie in `data/`. `data.py` says how they are read,
`configs/` what is trained; `sample/` holds made-up rows.

```
accelerate launch {name}/train.py --config {name}/configs/demo.yaml      # the made sample: does everything run?
accelerate launch {name}/train.py      # all folds, submission, report: runs/{plan.name}/final
{check}{tune}python -m common.search {name}      # which settings win
accelerate launch {name}/predict.py --run_dir runs/{plan.name}/final --test_file {name}/data/{test}{with_sample}
python -m common.report runs
```
"""


def tune_command(plan: Plan, name: str) -> str:
    """The command that chooses thresholds."""
    what = "thresholds" if plan.target.kind == "several" or len(plan.target.names) == 2 else "offsets of the classes"
    command = f"python -m common.blend {name} runs/{plan.name}/final --tune_decision {plan.metric}"
    return f"{command}      # {what}: what they gain"


def check_command(plan: Plan, name: str) -> str:
    """The command that checks the submission; the sample's placeholders do not say what the cells hold."""
    function = plan.answers[0]
    options = " --numbers" if function in ("number", "probability_of", "score") else ""
    options = " --probabilities" if function == "probability" else options
    if plan.submission.startswith("LongFormat"):
        options = " --numbers"
    if function.startswith("label") and not any("," in label for label in plan.target.names):
        options = f" --labels {shlex.quote(','.join(plan.target.names))} --lists"
    sample = plan.files["sample_submission_file"]
    return f"python -m common.submission runs/{plan.name}/final/submission.csv {name}/data/{sample}{options}"
