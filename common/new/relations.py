"""data.py and presets of a copy of klue_re: a sentence with two marked spans, <e1>...</e1> and <e2>...</e2>.

The copy keeps klue_re's own data.py as relations.py, for its options and its rows.
"""

from common.console import InputError
from common.new.code import Plan, as_source, head, long_import, loop_over_rows, submission_import, wrapped
from common.new.kinds import Target
from common.new.looks import Column
from common.new.presets import text_presets
from common.tables import Table
from common.tables.columns import take_out_marks


def check_marks(train: Table, column: Column) -> None:
    """Raise InputError for the first row without both marks."""
    for (row, _), cell in zip(train.rows, column.cells, strict=True):
        found = take_out_marks(cell)[1]
        if sorted(found) != ["e1", "e2"]:
            what = f"marks are {', '.join(found) or 'none'}, expected <e1>...</e1> and <e2>...</e2>, once each"
            raise InputError(f"{train.path}, row {row}, column {column.name}: {what}; without marks copy friends")


def relation_presets(model: str | None, script: str, metric: str, target: Target) -> dict[str, str]:
    extra = "entity_representation: entity_marker_punct\ncls_pooling: mean\n"
    return text_presets(script, model, metric, target, extra)


def relation_data_py(plan: Plan, train: Table, columns: dict[str, Column]) -> str:
    """Source. Raises InputError for a target that is no single label, and rows without marks."""
    if plan.target.kind != "labels":
        raise InputError(f"--kind: klue_re tells which label a pair has, not {plan.target.kind}; copy friends for that")
    if len(plan.target.columns) > 1:
        raise InputError("--target: klue_re reads one column of labels, not one a label; copy friends for that")
    if len(plan.roles.text_columns) != 1 or plan.roles.segments != [f"{{{plan.roles.text_columns[0]}}}"]:
        raise InputError(
            f"--text: {' '.join(plan.roles.segments):.80}, expected the one column with the marked sentence"
        )
    (text,) = plan.roles.text_columns
    check_marks(train, columns[text])
    (target,) = plan.target.columns
    row_id = plan.roles.id
    loop, identity = loop_over_rows(plan)
    constants = [line for line in head(plan) if not line.startswith("SUBMISSION = ")]
    where = f"{{where}}, column {text}"
    lines = [
        f'"""{plan.name}: {text} -> {target}, written by common.new, to be edited; see docs/new_competition.md."""',
        "",
        "from common.console import InputError, print_once",
        f"from common.examples import {'check_id, ' if row_id else ''}check_text",
        "from common.guards.spelling import nfc",
        submission_import(plan),
        "from common.tables import read_table",
        "from common.tables.columns import label_number, take_out_marks",
        *long_import(plan),
        "",
        "from relations import Entity, RelationExample, TaskPredictArguments, apply_label_fixes  # noqa: F401",
        "from relations import TaskArguments as RelationArguments",
        "",
        *constants,
        f'SUBMISSIONS = {{"competition": {plan.submission}}}',
        *([f"COLUMNS = {as_source(plan.header)}  # the files have no header"] if plan.header else []),
        "",
        "",
        "class TaskArguments(RelationArguments):",
        '    """Options of train.py; labels stand above, rows have no types, there is one kind of submission."""',
        "",
        "    def check(self, training_args):",
        "        super().check(training_args)",
        '        if self.label_file or self.ner_file or self.submission_format != "competition":',
        '            raise InputError("label_file, ner_file, submission_format: this folder has none")',
        "",
        "",
        "def make_preprocessing(args, label_names=None):",
        '    return {"label_names": label_names or LABEL_NAMES}',
        "",
        "",
        "def read_examples(path, preprocessing, note=print_once):",
        '    """One row a row of the table, in its order; rows of one sentence are one group."""',
        "    examples = []",
        *(["    first_row = {}"] if row_id else []),
        *[f"    {part}" for part in wrapped(loop)],
        '        where = f"{path}, row {row}"',
        *([f"        check_id({identity}, {as_source(row_id)}, row, first_row, path)"] if row_id else []),
        f"        text = nfc(values[{as_source(text)}])",
        f"        check_text(text, f{as_source(where)})",
        "        sentence, spans = take_out_marks(text)",
        '        if sorted(spans) != ["e1", "e2"]:',
        f"            raise InputError(f{as_source(f'{where}: expected <e1>...</e1> and <e2>...</e2>')})",
        f'        label = label_number(values.get({as_source(target)}) or None, preprocessing["label_names"], where)',
        "        entities = {name: Entity(*span) for name, span in spans.items()}",
        f"        examples.append(RelationExample({identity}, [sentence], label, sentence, **entities))",
        '    note(f"{path}: {len(examples):,} rows")',
        "    return examples",
    ]
    return "\n".join(lines) + "\n"
