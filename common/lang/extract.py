"""The sentences that the code says, read from its source: what InputError, print_once and the like are given, and the
text that is put together from other functions, parameters, fields and modules on its way there.

A sentence is a template: the text of an f-string with a number for a value ({0}), n and a number for a value that is
one ({n0}), and a letter for text that is itself of the catalogue ({a}).
"""

import ast
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path

from common.lang.syntax import (
    all_arguments,
    argument,
    bindings,
    branches,
    defaults,
    is_text,
    last_name,
    returns,
    shape_of,
    slots_of,
)

ROOT = Path(__file__).resolve().parents[2]
# Functions and exceptions whose arguments reach a terminal. `say`, `note`: of runs, checks and the doctor.
EXITS = {
    "InputError",
    "Stopped",
    "Busy",
    "Broken",
    "print",
    "print_once",
    "say",
    "note",
    "exit",
    "error",
    "run_main",
    "told",
    "printable",
}
# Functions that make tables, and `<module>` for constants: their words are told() one by one.
TABLES = {
    "common/doctor/findings.py": ("__str__",),
    "common/doctor/measure.py": ("seconds_of_run",),
    "common/memory/parts.py": ("memory_of",),
    "common/progress/lines.py": ("names", "folds_table"),
    "common/report/index_page.py": ("<module>", "describe_run", "result_cells"),
}
# What libraries say where a user meets it: argparse, transformers' parser, the system (in small letters).
LIBRARIES = (
    "argument {0}: {a}",
    "expected at least one argument",
    "expected at most one argument",
    "expected one argument",
    "expected {0} arguments",
    "ignored explicit argument {0}",
    "invalid choice: {0} (choose from {1})",
    "invalid {0} value: {1}",
    "not allowed with argument {0}",
    "one of the arguments {0} is required",
    "the following arguments are required: {0}",
    "unrecognized arguments: {0}",
    "Truthy value expected: got {0} but expected one of yes/no, true/false, t/f, y/n, 1/0 (case insensitive).",
    "device or resource busy",
    "directory not empty",
    "disk quota exceeded",
    "file exists",
    "file name too long",
    "file too large",
    "input/output error",
    "invalid argument",
    "is a directory",
    "no space left on device",
    "no such file or directory",
    "not a directory",
    "operation not permitted",
    "permission denied",
    "read-only file system",
    "too many levels of symbolic links",
    "too many open files",
)
# What is said later, from a file or as a cell.
RECORDED = ("weights_paths",)
# Functions that write files, in modules that speak: what they are made of is not said.
WRITERS = {"table", "source", "note_stages", "write_sources", "write_preset", "order_text", "as_text"}
# Modules that write files, or --help, which is English: only what these functions of them say is translated.
PAGES = {
    "common/blend/page.py": (),
    "common/new/code.py": (),
    "common/new/media.py": ("build_media", "folders_of_classes", "look_at_table", "find_path_column"),
    "common/new/presets.py": (),
    "common/new/readme.py": (),
    "common/new/relations.py": ("check_marks",),
    "common/new/sample.py": (),
    "common/options/help.py": (),
    "common/report/compare.py": ("load_comparison", "aligned", "history_of"),
    "common/report/compare_page.py": ("write_comparison", "verdicts", "<module>"),
    "common/report/curves.py": (),
    "common/report/index_page.py": ("find_runs", "describe_run", "result_cells", "<module>"),
    "common/report/number_page.py": ("find_warnings",),
    "common/report/ordered_page.py": (),
    "common/report/run_page.py": ("find_warnings", "report_run"),
    "common/report/several_page.py": ("find_warnings",),
    "common/report/web_page.py": ("check_output",),
    "common/search/report.py": (),
    "common/tricks/card.py": (),
}
TEXT_METHODS = {"format", "strip", "lstrip", "rstrip", "lower", "upper", "capitalize", "replace", "removeprefix"}
TEXT_METHODS |= {
    "removesuffix",
    "ljust",
    "rjust",
    "splitlines",
    "split",
    "items",
    "values",
    "get",
    "pop",
    "setdefault",
    "most_common",
}
PASSED_ON = {"str", "sorted", "list", "tuple", "set", "map", "zip", "enumerate", "reversed", "filter", "next", "dict"}
PASSED_ON |= {"chain", "islice", "partial", "Counter", "fromkeys"}
# Names that hold what users gave and what was computed, never a sentence.
VALUES = set(
    """path name folder row column run_dir fold number file output task label_names i metric max_length ids id label
labels metrics group header first first_row folders source_path model_dir name_or_path dir first_path archive
archive_path line_number segments paths preset prog parent frames clips num_points steps batch epoch sheet
device precision quantization model_name_or_path folds classes targets task_dir args argv stem run""".split()
)
NUMERIC = re.compile(r"[+,]?\d*[,.]?\d*[,dfge%]")  # of a format
WORD = re.compile(r"[A-Za-z]{2,}(/s)?")
DEEPEST = 3  # calls through which a list or dict is followed into what fills it
SENTENCE = re.compile(r"[A-Za-z].*\s|\s.*[A-Za-z]", re.DOTALL)  # words, and a space
SLOT = re.compile(r"\{(\w*)\}")
OPTION = re.compile(r"\w*_\w*: \0")


@dataclass
class Said:
    """A template and where it stands. values: the source of what fills it, by placeholder."""

    template: str
    places: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)


def modules(root: Path = ROOT) -> list[Path]:
    """What a user runs: common/ and the folders of competitions."""
    folders = [root / "common", *sorted(path.parent for path in root.glob("*/train.py"))]
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    return [path for path in found if not {"runs", "lang", "node_modules"} & set(path.relative_to(root).parts)]


def closure(starts: Iterable[ast.AST], edges: dict[ast.AST, list[ast.AST]]) -> set[ast.AST]:
    """All that can be reached."""
    seen, waiting = set(), list(starts)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += edges.get(node, ())
    return seen


def is_sentence(node: ast.expr) -> bool:
    """Whether a string has a space and words, and is no line of YAML."""
    shape = shape_of(node)
    return bool(SENTENCE.search(shape)) and not OPTION.fullmatch(shape)


@cache
def sources() -> "Sources":
    """Of the code that is here."""
    return Sources(modules())


@cache
def sentences() -> dict[str, Said]:
    """All that a user may be told, by template: what the code says, and LIBRARIES."""
    said = sources().said()
    library = {text: Said(text, ["a library"]) for text in LIBRARIES if text not in said}
    return dict(sorted((said | library).items()))


@cache
def words() -> dict[str, str]:
    """The words of tables, each with a place."""
    return sources().words()


class Sources:
    """The parsed modules, and from where to where text goes in them, by name."""

    def __init__(self, paths: Iterable[Path], root: Path = ROOT):
        self.parents: dict[ast.AST, ast.AST] = {}
        self.files: dict[ast.Module, str] = {}
        self.functions: dict[str, list[ast.AST]] = defaultdict(list)
        self.classes: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.calls: dict[str, list[ast.Call]] = defaultdict(list)
        self.attributes: dict[str, list[ast.expr]] = defaultdict(list)
        self.fields: dict[str, list[ast.ClassDef]] = defaultdict(list)
        self.globals: dict[str, list[ast.expr]] = defaultdict(list)
        self.passed: dict[ast.AST, dict[str, list[tuple[ast.Call, int]]]] = {}
        self.bound: dict[ast.AST, dict[str, list[ast.AST]]] = {}
        for path in paths:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            self.files[tree] = path.relative_to(root).as_posix()
            self.index(tree)

    def formatted(self) -> list[ast.expr]:
        """What str.format() fills in."""
        return [call.func.value for call in self.calls["format"] if isinstance(call.func, ast.Attribute)]

    def index(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                self.functions[node.name].append(node)
            elif isinstance(node, ast.ClassDef):
                self.classes[node.name].append(node)
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        self.fields[item.target.id].append(node)
            elif isinstance(node, ast.Call):
                self.calls[last_name(node.func)].append(node)
                for position, given in enumerate(node.args):
                    if isinstance(given, ast.Name):
                        in_scope = self.passed.setdefault(self.scope(node), defaultdict(list))
                        in_scope[given.id].append((node, position))
        for node in ast.walk(tree):
            for target, value in bindings(node):
                if isinstance(target, ast.Attribute):
                    self.attributes[target.attr].append(value)
                elif isinstance(target, ast.Name):
                    scope = self.scope(node)
                    self.bound.setdefault(scope, defaultdict(list))[target.id].append(value)
                    if isinstance(scope, ast.Module):
                        self.globals[target.id].append(value)
                    elif isinstance(scope, ast.ClassDef):
                        self.attributes[target.id].append(value)

    def scope(self, node: ast.AST) -> ast.AST:
        """The function, class or module that a node stands in."""
        node = self.parents[node]
        while not isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
            node = self.parents[node]
        return node

    def place(self, node: ast.AST) -> str:
        top = node
        while not isinstance(top, ast.Module):
            top = self.parents[top]
        return f"{self.files[top]}:{node.lineno}"

    def said(self) -> dict[str, Said]:
        """All sentences by template."""
        graph = self.reach(self.exits())
        formats = [leaf for leaf in self.reach(self.formatted()) if is_text(leaf)]
        behind = defaultdict(list)
        for node, origins in graph.items():
            for origin in origins:
                behind[origin].append(node)
        sentences = [leaf for leaf in graph if is_text(leaf) and is_sentence(leaf)]
        spoken = [node for node in graph if isinstance(node, ast.ExceptHandler)] + self.word_nodes(graph)
        texts = closure([*sentences, *spoken], behind)
        shapes = defaultdict(list)
        for leaf in sentences:
            shapes[shape_of(leaf)].append(leaf)
        found = (self.template(shape, leaves, texts, formats) for shape, leaves in shapes.items())
        return {said.template: said for said in sorted(found, key=lambda said: said.template)}

    def template(self, shape: str, leaves: list[ast.expr], texts: set[ast.AST], formats: list[ast.AST]) -> Said:
        """The strings of one shape as a template. texts: the expressions whose value may be, or hold, a sentence."""
        rows = [slots_of(leaf) for leaf in leaves]
        columns = list(zip(*rows, strict=True))
        kinds = [
            "a" if any(part in texts for part in column) else "n" * all(map(is_number, column)) for column in columns
        ]
        names = slot_names(kinds)
        pieces = shape.split("\0")
        if leaves[0] not in formats:
            pieces = [piece.replace("{", "{{").replace("}", "}}") for piece in pieces]
        text = pieces[0] + "".join(f"{{{name}}}{piece}" for name, piece in zip(names, pieces[1:], strict=True))
        said = Said(text, [self.place(leaf) for leaf in leaves])
        for row in rows:
            said.values |= dict(zip(names, (ast.unparse(part.value) for part in row), strict=True))
        return said

    def exits(self) -> Iterator[ast.expr]:
        """What is given to EXITS, and to every exception: its text may become part of an InputError's."""
        for name, calls in self.calls.items():
            raised = name.endswith(("Error", "Exception"))
            if name in EXITS or raised:
                for call in calls:
                    yield from call.args
                    yield from (word.value for word in call.keywords if word.arg not in ("file", "sep", "end"))
        for name in RECORDED:
            yield from self.functions[name]

    def words(self) -> dict[str, str]:
        """The words of TABLES and of the doctor's lines, and those that a sentence chooses from, with their places."""
        return dict(sorted((node.value, self.place(node)) for node in self.word_nodes(self.reach(self.exits()))))

    def word_nodes(self, graph: Iterable[ast.AST]) -> list[ast.Constant]:
        chosen = [part.value for node in graph for part in slots_of(node)]
        names = [node for node in chosen if isinstance(node, ast.Name)]
        chosen += [value for node in names for value in self.bound.get(self.scope(node), {}).get(node.id, ())]
        called = [last_name(node.func) for node in chosen if isinstance(node, ast.Call)]
        chosen += [value for name in called for function in self.functions[name] for value in returns(function)]
        chosen += [value for name in names for value in self.listed(name)]
        keyed = [node.value for node in chosen if isinstance(node, ast.Subscript)]
        dicts = [value for node in keyed if isinstance(node, ast.Name) for value in self.globals[node.id]]
        waiting = [item for value in dicts if isinstance(value, ast.Dict) for item in value.values]
        waiting += [node for node in chosen if isinstance(node, (ast.IfExp, ast.BoolOp, ast.Tuple))]
        waiting += [node for call in self.calls["told"] for node in call.args]
        waiting += [node for call in self.calls["Cell"] for node in call.args[:1]]
        waiting += [node for call in self.calls["Finding"] for node in call.args[:2]]
        for tree, path in self.files.items():
            nodes = (node for node in ast.walk(tree) if isinstance(node, (ast.List, ast.Tuple, ast.Dict, ast.IfExp)))
            waiting += [node for node in nodes if getattr(self.scope(node), "name", "<module>") in TABLES.get(path, ())]
        found = [word for node in waiting for word in branches(node) if isinstance(word, ast.Constant)]
        return [word for word in found if isinstance(word.value, str) and WORD.fullmatch(word.value)]

    def listed(self, name: ast.Name) -> Iterator[ast.AST]:
        """The items of a literal that a loop goes through, tuples among them."""
        for value in self.bound.get(self.scope(name), {}).get(name.id, ()):
            if isinstance(value, (ast.Tuple, ast.List)):
                yield from (item for item in value.elts if isinstance(item, ast.Tuple))

    def reach(self, starts: Iterable[ast.AST]) -> dict[ast.AST, list[ast.AST]]:
        """All from which the values of expressions come, each with where it comes from itself, one step back."""
        graph: dict[ast.AST, list[ast.AST]] = {}
        waiting = list(starts)
        while waiting:
            node = waiting.pop()
            if node not in graph and not self.is_of_page(node):
                graph[node] = list(self.origins(node))
                waiting += graph[node]
        return graph

    def is_of_page(self, node: ast.AST) -> bool:
        """Whether a string stands where only what goes into a file is made."""
        if not is_text(node):
            return False
        scope = self.scope(node)
        while not isinstance(scope, ast.Module) and not isinstance(self.parents[scope], (ast.Module, ast.ClassDef)):
            scope = self.scope(scope)
        name = getattr(scope, "name", "<module>")
        speaking = PAGES.get(self.place(node).partition(":")[0])
        return name in WRITERS or speaking is not None and name not in speaking

    def origins(self, node: ast.AST) -> Iterable[ast.AST]:
        """Where the value of an expression comes from, one step back."""
        match node:
            case ast.JoinedStr():
                return slots_of(node)
            case ast.FormattedValue():
                return (node.value,) if node.conversion == -1 else ()
            case ast.IfExp():
                return node.body, node.orelse
            case ast.BoolOp():
                return node.values
            case ast.BinOp(op=ast.Add() | ast.BitOr()):
                return node.left, node.right
            case ast.BinOp(op=ast.Mod() | ast.Mult()):
                return (node.left,)
            case ast.NamedExpr() | ast.Starred() | ast.Subscript() | ast.YieldFrom():
                return (node.value,)
            case ast.Tuple() | ast.List() | ast.Set():
                return node.elts
            case ast.Dict():
                return [*filter(None, node.keys), *node.values]
            case ast.ListComp() | ast.GeneratorExp() | ast.SetComp():
                return (node.elt,)
            case ast.DictComp():
                return node.key, node.value
            case ast.Lambda():
                return (node.body,)
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in VALUES:
                return ()
            case ast.Attribute():
                return self.of_attribute(node.attr)
            case ast.Name():
                return self.of_name(node)
            case ast.Call():
                return self.of_call(node)
            case ast.FunctionDef():
                return returns(node)
        return ()

    def of_attribute(self, name: str) -> Iterator[ast.AST]:
        yield from self.attributes[name]
        for owner in self.fields[name]:
            names = [item.target.id for item in owner.body if isinstance(item, ast.AnnAssign)]
            for call in self.calls[owner.name]:
                yield from argument(call, name, names.index(name))
        for function in self.functions[name]:
            if any(last_name(decorator) in ("property", "cached_property") for decorator in function.decorator_list):
                yield function

    def of_name(self, node: ast.Name) -> Iterator[ast.AST]:
        scope = self.scope(node)
        while True:
            if isinstance(scope, ast.FunctionDef):
                if (names := [item.arg for item in all_arguments(scope)]) and node.id in names:
                    yield from self.of_parameter(scope, node.id)
                    yield from self.bound.get(scope, {}).get(node.id, ())
                    return
            if found := self.bound.get(scope, {}).get(node.id):
                yield from found
                for call, position in self.passed.get(scope, {}).get(node.id, ()):
                    yield from self.of_filled(call, position)
                return
            if isinstance(scope, ast.Module):
                break
            scope = self.scope(scope)
        yield from self.globals[node.id]  # of another module
        yield from self.functions[node.id]

    def of_parameter(self, function: ast.FunctionDef, name: str) -> Iterator[ast.AST]:
        if function.name == "error" or name == "where":  # what argparse says; a place, which a new folder's code names
            yield ast.ExceptHandler()
        names = [item.arg for item in function.args.posonlyargs + function.args.args]
        owner = self.parents[function]
        called = function.name
        if isinstance(owner, ast.ClassDef) and names[:1] in (["self"], ["cls"]):
            names = names[1:]
            called = owner.name if function.name == "__init__" else called
        position = names.index(name) if name in names else None
        for call in self.calls[called] + (self.calls["super().__init__"] if called != function.name else []):
            yield from argument(call, name, position)
            if function.args.vararg and function.args.vararg.arg == name:
                yield from call.args[len(names) :]
        for item, default in defaults(function):
            if item.arg == name:
                yield default

    def of_filled(self, call: ast.Call, position: int, above: tuple = ()) -> Iterator[ast.AST]:
        """What a function, and those that it calls, put into a list or dict that it is given."""
        for function in self.functions[last_name(call.func)]:
            if position < len(names := [item.arg for item in function.args.posonlyargs + function.args.args]):
                yield from self.bound.get(function, {}).get(names[position], ())
                for inner, place in self.passed.get(function, {}).get(names[position], ()):
                    if inner not in above and len(above) < DEEPEST:
                        yield from self.of_filled(inner, place, (*above, inner))

    def of_call(self, node: ast.Call) -> Iterator[ast.AST]:
        name = last_name(node.func)
        if isinstance(node.func, ast.Attribute):
            if name in ("join", "fromkeys"):
                yield from node.args[-1:]
                return
            if name in TEXT_METHODS:
                yield node.func.value
                if name in ("format", "get", "pop", "setdefault"):
                    yield from node.args
                    yield from (word.value for word in node.keywords)
                return
        elif name in PASSED_ON:
            yield from node.args
            return
        if name == "first_line":
            yield ast.ExceptHandler()  # what an exception says
        yield from self.functions[name]
        for owner in self.classes[name]:
            for item in owner.body:
                if isinstance(item, ast.FunctionDef) and item.name in ("__str__", "__call__"):
                    yield item
            if any(last_name(base).endswith(("Error", "Exception")) for base in owner.bases):
                yield from node.args


def slot_names(kinds: list[str]) -> list[str]:
    """0, 1, ... for values, n0, n1, ... for numbers and a, b, ... for texts, in their order."""
    names = {"": map(str, count()), "n": (f"n{i}" for i in count()), "a": iter(string.ascii_lowercase)}
    return [next(names[kind]) for kind in kinds]


def is_number(part: ast.FormattedValue) -> bool:
    """Whether a placeholder is a number, by its format or by what it calls."""
    spec = (
        "".join(piece.value for piece in part.format_spec.values if isinstance(piece, ast.Constant))
        if (isinstance(part.format_spec, ast.JoinedStr))
        else ""
    )
    value = part.value
    counts = isinstance(value, ast.Call) and last_name(value.func) in ("len", "sum", "abs", "round")
    return part.conversion == -1 and (bool(NUMERIC.fullmatch(spec)) or counts)
