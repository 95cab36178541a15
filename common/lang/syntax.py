"""Questions about Python's syntax trees that extract.py asks: what an expression may be, what a statement binds."""

import ast
from collections.abc import Iterator


def shape_of(node: ast.expr) -> str:
    """The text of a string's node, NUL for each placeholder."""
    if isinstance(node, ast.Constant):
        return node.value
    return "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)


def slots_of(node: ast.AST) -> list[ast.FormattedValue]:
    """The placeholders of an f-string."""
    return [part for part in getattr(node, "values", ()) if isinstance(part, ast.FormattedValue)]


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(node, ast.Constant) and isinstance(node.value, str)


def branches(node: ast.AST) -> Iterator[ast.AST]:
    """What an expression chooses from, the items of a list, the keys of a dict."""
    match node:
        case ast.IfExp():
            yield from (leaf for branch in (node.body, node.orelse) for leaf in branches(branch))
        case ast.BoolOp():
            yield from (leaf for branch in node.values for leaf in branches(branch))
        case ast.List() | ast.Tuple():
            yield from node.elts
        case ast.Dict():
            yield from filter(None, node.keys)
        case _:
            yield node


def last_name(node: ast.expr) -> str:
    """`c` of `a.b.c` and of `a.b.c(...)`."""
    if isinstance(node, ast.Call):
        return last_name(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def argument(call: ast.Call, name: str, position: int | None) -> Iterator[ast.expr]:
    """What a call gives for a parameter."""
    if position is not None and position < len(call.args):
        yield call.args[position]
    yield from (word.value for word in call.keywords if word.arg in (name, None))
    yield from (item for item in call.args[:position] if isinstance(item, ast.Starred))


def all_arguments(function: ast.FunctionDef) -> list[ast.arg]:
    found = function.args
    return [*found.posonlyargs, *found.args, *found.kwonlyargs, *filter(None, [found.vararg, found.kwarg])]


def defaults(function: ast.FunctionDef) -> Iterator[tuple[ast.arg, ast.expr]]:
    found = function.args
    named = [*found.posonlyargs, *found.args]
    yield from zip(named[len(named) - len(found.defaults) :], found.defaults, strict=True)
    yield from ((item, value) for item, value in zip(found.kwonlyargs, found.kw_defaults, strict=True) if value)


def returns(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a function returns or yields."""
    waiting = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) and node.value is not None:
            yield node.value
        waiting += ast.iter_child_nodes(node)


def bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.AST]]:
    """The names and attributes that a statement binds, each with what it is bound to as a whole."""
    pairs: list[tuple[ast.expr | None, ast.AST | None]] = []
    match node:
        case ast.Assign():
            pairs = [(target, node.value) for target in node.targets]
        case ast.AugAssign() | ast.AnnAssign() | ast.NamedExpr():
            pairs = [(node.target, node.value)]
        case ast.For() | ast.comprehension():
            pairs = [(node.target, node.iter)]
        case ast.withitem():
            pairs = [(node.optional_vars, node.context_expr)]
        case ast.ExceptHandler() if node.name:
            yield ast.Name(node.name), node
        case ast.Call(
            func=ast.Attribute(attr="append" | "extend" | "insert" | "add" | "update" | "setdefault"), args=[*_, value]
        ):
            pairs = [(node.func.value, value)]
    for target, value in pairs:
        if target is not None and value is not None:
            for leaf in unpacked(target):
                yield leaf, value


def unpacked(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            yield from unpacked(item)
    elif isinstance(target, (ast.Starred, ast.Subscript)):
        yield from unpacked(target.value)
    else:
        yield target
