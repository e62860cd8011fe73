"""What is done with every node of Python's syntax: each has a row in the table of its position.

A node without a meaning in kernel code has a row too: :func:`refuse` with what to do instead. ``tests/frontends``
checks
that no node of :mod:`ast` is missing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from osmia.frontends.python import access, assign, calls, expressions, loops, match, statements

if TYPE_CHECKING:
    from osmia.frontends.python.function import Fn


def refuse(what: str, hint: str) -> Callable[..., NoReturn]:
    """A row for a node that kernel code cannot have."""

    def handler(fn: Fn, node: ast.AST, *rest: Any) -> NoReturn:
        raise fn.error("PY170", node, f"{what} has no meaning in a kernel function", hint=hint)

    return handler


_USER_SPACE = "do it in user space, in a @prog.on callback"
_FUNCTION = "write a function at the module's top level and call it"
_FLAT = "write a loop"

EXPRESSIONS: dict[type[ast.expr], Callable[..., Any]] = {
    ast.BoolOp: expressions.bool_op,
    ast.NamedExpr: assign.named_expression,
    ast.BinOp: expressions.bin_op,
    ast.UnaryOp: expressions.unary_op,
    ast.IfExp: expressions.if_exp,
    ast.Compare: expressions.compare,
    ast.Call: calls.call,
    ast.Constant: expressions.constant,
    ast.Attribute: access.attribute,
    ast.Subscript: access.subscript,
    ast.Name: assign.name_value,
    ast.List: expressions.list_display,
    ast.Tuple: expressions.tuple_display,
    ast.Set: refuse("a set display", "use it right of `in`, or as a constant of the module"),
    ast.Dict: refuse("a dict display", "make it a constant of the module, or use a map"),
    ast.Lambda: refuse("lambda", _FUNCTION),
    ast.ListComp: refuse("a list comprehension", _FLAT),
    ast.SetComp: refuse("a set comprehension", _FLAT),
    ast.DictComp: refuse("a dict comprehension", _FLAT),
    ast.GeneratorExp: refuse("a generator expression", _FLAT),
    ast.Await: refuse("await", _USER_SPACE),
    ast.Yield: refuse("yield", "send an event: ring.submit(Event(...))"),
    ast.YieldFrom: refuse("yield from", "send events: ring.submit(Event(...))"),
    ast.FormattedValue: refuse("a formatted value", "f-strings are for print, printk and seq_print"),
    ast.JoinedStr: refuse("an f-string", "f-strings are for print, printk and seq_print; send the parts as fields"),
    ast.Starred: refuse("a starred value", "pass the arguments one by one"),
    ast.Slice: refuse("a slice", "index single elements"),
}
"""Expressions in a place where their value is used."""

STATEMENTS: dict[type[ast.stmt], Callable[..., Any]] = {
    ast.Return: statements.return_,
    ast.Delete: statements.delete,
    ast.Assign: assign.assign,
    ast.AugAssign: assign.augmented,
    ast.AnnAssign: assign.annotated,
    ast.For: loops.for_,
    ast.While: loops.while_,
    ast.If: statements.if_,
    ast.Match: match.match,
    ast.Assert: statements.assert_,
    ast.Expr: statements.expression,
    ast.Pass: statements.pass_,
    ast.Break: loops.break_,
    ast.Continue: loops.continue_,
    ast.FunctionDef: refuse("a function inside a function", _FUNCTION),
    ast.AsyncFunctionDef: refuse("async def", _FUNCTION),
    ast.ClassDef: refuse("a class inside a function", "write a @prog.struct class at the module's top level"),
    ast.AsyncFor: refuse("async for", "write a plain for loop"),
    ast.With: refuse("with", "locks of map values are not supported; there is nothing to close"),
    ast.AsyncWith: refuse("async with", _USER_SPACE),
    ast.Raise: refuse("raise", "return, or count the case: assert condition"),
    ast.Try: refuse("try", "kernel functions raise nothing: test results for None and errors"),
    ast.TryStar: refuse("try/except*", "kernel functions raise nothing: test results for None and errors"),
    ast.Import: refuse("import", "import at the module's top level"),
    ast.ImportFrom: refuse("import", "import at the module's top level"),
    ast.Global: refuse("global", "share a value with prog.var"),
    ast.Nonlocal: refuse("nonlocal", "share a value with prog.var"),
}
"""Statements."""

TARGETS: dict[type[ast.expr], Callable[..., Any]] = {
    ast.Name: assign.store_name,
    ast.Attribute: assign.store_attribute,
    ast.Subscript: assign.store_element,
    ast.Tuple: assign.store_group,
    ast.List: assign.store_group,
    ast.Starred: refuse("a starred target", "a list of unknown length has no memory in the kernel"),
}
"""Expressions that are assigned to."""

PATTERNS: dict[type[ast.pattern], Callable[..., Any]] = {
    ast.MatchValue: match.value_pattern,
    ast.MatchSingleton: match.singleton_pattern,
    ast.MatchSequence: match.sequence_pattern,
    ast.MatchAs: match.as_pattern,
    ast.MatchOr: match.or_pattern,
    ast.MatchMapping: refuse("a mapping pattern", "match on the value of a lookup"),
    ast.MatchClass: refuse("a class pattern", "match on the fields: match e.kind"),
    ast.MatchStar: refuse("a starred pattern", "name the parts one by one"),
}
"""Patterns of ``case``."""

for _name, _row in (("TypeAlias", "a type alias inside a function"), ("TemplateStr", "a template string"),
                    ("Interpolation", "a template string")):  # fmt: skip
    _node = getattr(ast, _name, None)  # Python 3.12 and 3.14
    if _node is not None and issubclass(_node, ast.stmt):
        STATEMENTS[_node] = refuse(_row, "write it at the module's top level")
    elif _node is not None:
        EXPRESSIONS[_node] = refuse(_row, "use an f-string in print()")
