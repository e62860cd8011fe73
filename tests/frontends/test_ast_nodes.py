"""No node of Python's syntax is accepted and ignored: every one, in every position, is refused or does what Python does."""

import ast
import itertools
import sys
import textwrap

import pytest

from osmia.diagnostics import OsmiaError
from osmia.frontends.python import tables

A, B = 5, 3

# An expression of every kind over a, b (numbers), t (a constant tuple), d (a constant dict); None: only inside others.
EXPRESSIONS = {
    ast.BoolOp: "(a and b)",
    ast.NamedExpr: "(n := a + 1)",
    ast.BinOp: "(a * 2 - b)",
    ast.UnaryOp: "(-a)",
    ast.Lambda: "(lambda: 1)",
    ast.IfExp: "(a if a > b else b)",
    ast.Dict: "{1: 2}",
    ast.Set: "{1, 2}",
    ast.ListComp: "[x for x in (1, 2)]",
    ast.SetComp: "{x for x in (1, 2)}",
    ast.DictComp: "{x: x for x in (1, 2)}",
    ast.GeneratorExp: "(x for x in (1, 2))",
    ast.Await: "(await a)",
    ast.Yield: "(yield a)",
    ast.YieldFrom: "(yield from t)",
    ast.Compare: "(0 < a <= 5 != b)",
    ast.Call: "max(a, b)",
    ast.FormattedValue: "f'{a}'",
    ast.JoinedStr: "f'{a}b'",
    ast.Constant: "7",
    ast.Attribute: "Kind.TWO",
    ast.Subscript: "t[1]",
    ast.Starred: "(*t,)",
    ast.Name: "a",
    ast.List: "[1, 2]",
    ast.Tuple: "(1, 2)",
    ast.Slice: "t[0:1]",
}
if sys.version_info >= (3, 14):
    EXPRESSIONS[ast.TemplateStr] = "t'{a}'"
    EXPRESSIONS[ast.Interpolation] = "t'{a}{b}'"

# Where an expression can stand. {e} is the expression; the function returns something that shows its value.
POSITIONS = {
    "returned": "return {e}",
    "assigned": "x = {e}\nreturn x",
    "assigned with annotation": "x: s64 = {e}\nreturn x",
    "augmented": "x = 10\nx += {e}\nreturn x",
    "condition of if": "if {e}:\n    return 1\nreturn 2",
    "condition of while": "n = 0\nwhile {e}:\n    n += 1\n    if n > 2:\n        break\nreturn n",
    "condition of an expression": "return 1 if {e} else 2",
    "condition of assert": "assert {e}\nreturn 3",
    "operand": "return {e} + 1",
    "compared": "return {e} == 5",
    "argument": "return same({e})",
    "argument by name": "return same(x={e})",
    "argument of a type": "return s64({e})",
    "index": "return wide[{e}]",
    "key of a map": "m[{e}] = 4\nreturn m.get({e}, 0)",
    "value of a map": "m[1] = {e}\nreturn m.get(1, 0)",
    "deleted": "m[5] = 4\ndel m[{e}]\nreturn m.get(5, 0)",
    "subject of match": "match {e}:\n    case 5:\n        return 1\n    case _:\n        return 2",
    "guard": "match a:\n    case 5 if {e}:\n        return 1\n    case _:\n        return 2",
    "iterated": "n = 0\nfor x in {e}:\n    n += 1\nreturn n",
    "bound of range": "n = 0\nfor x in range({e}):\n    n += 1\nreturn n",
    "searched": "return a in {e}",
    "element of a list": "x = [{e}, 1]\nreturn x[0]",
    "element of a tuple": "x = ({e}, 1)\nreturn x[0]",
    "attribute of": "return {e}.real",
    "target of an attribute": "{e}.x = 1\nreturn 1",
    "target of an element": "{e}[0] = 1\nreturn 1",
    "printed": "print({e})\nreturn 1",
    "printed in an f-string": "print(f'{{{e}}}')\nreturn 1",
    "format of an f-string": "print(f'{{a:{{{e}}}}}')\nreturn 1",
    "statement": "{e}\nreturn 1",
    "annotation of a variable": "x: {e} = 1\nreturn x",
}
HEADER = textwrap.dedent(
    """
    class Kind(IntEnum):
        ONE = 1
        TWO = 2

    t = (4, 5)
    wide = tuple(range(10, 30))
    m = prog.hash(u64, s64)
    a_in = prog.var(s64)
    b_in = prog.var(s64)
    out = prog.var(s64)

    def same(x):
        return x
    """
)
MAIN = """
@prog.syscall
def main() -> int:
    out.value = work(a_in.value, b_in.value)
    return 7
"""


def outcome(sample, text):
    """What the front end makes of a program: the code of the refusal, or the value that the evaluator gets."""
    try:
        made = sample(HEADER + text + MAIN)
    except SyntaxError:
        return "no Python"
    except OsmiaError as error:
        return error.code
    except (TypeError, AttributeError, ValueError, NameError):
        return "fails in Python"
    try:
        evaluator = made.evaluator()
    except OsmiaError as error:
        errors = getattr(error, "errors", [error])
        assert all(item.code.startswith("PY") for item in errors), errors
        assert all(item.span.line for item in errors), errors
        return errors[0].code
    evaluator.globals["a_in"], evaluator.globals["b_in"] = A, B
    result = evaluator.run("main")
    return evaluator.globals["out"] if result.value == 7 else "ended"


class Table(dict):
    """The hash map, for Python: deleting a key that is not there does nothing."""

    def __delitem__(self, key):
        self.pop(key, None)


def in_python(text):
    """What Python itself makes of the same function."""
    from enum import IntEnum

    space = {"IntEnum": IntEnum, "s64": int, "u32": int, "m": Table(), "print": lambda *rest: None}
    header = HEADER[: HEADER.index("m = prog")] + "def same(x):\n    return x\n"
    try:
        exec(header + text, space)
        return int(space["work"](A, B))
    except Exception as error:
        return type(error).__name__


def in_function(body):
    return "def work(a: s64, b: s64):\n" + textwrap.indent(body, "    ") + "\n"


def check(found, text):
    if isinstance(found, int):
        assert found == in_python(text), text
    elif found == "ended":
        assert isinstance(in_python(text), str), text
    else:
        assert found in ("no Python", "fails in Python") or found.startswith("PY"), found


@pytest.mark.parametrize("position", POSITIONS)
def test_expressions_in_position(sample, position):
    for expression in EXPRESSIONS.values():
        text = in_function(POSITIONS[position].replace("{e}", expression).replace("{{", "{").replace("}}", "}"))
        check(outcome(sample, text), text)


def test_expressions_as_default(sample):
    """Python computes defaults itself; what it computed is a constant of the program."""
    for expression in EXPRESSIONS.values():
        text = f"a, b = 5, 3\ndef helper(x={expression}):\n    return x\n" + in_function("return helper()")
        check(outcome(sample, text), text)


def test_expressions_as_default_of_a_kernel_function_are_refused(sample):
    for expression in EXPRESSIONS.values():
        made = f"a, b = 5, 3\n@prog.xdp\ndef other(ctx={expression}) -> int:\n    return 2\n"
        found = outcome(sample, made + in_function("return 1"))
        assert found in ("no Python", "fails in Python", "PY201") or str(found).startswith("PY"), expression


def test_expressions_as_decorator_are_refused(sample):
    for expression in EXPRESSIONS.values():
        made = f"a, b = (lambda f: f), 3\n@prog.begin\n@{expression}\ndef other() -> None:\n    pass\n"
        found = outcome(sample, made + in_function("return 1"))
        assert found in ("no Python", "fails in Python", "PY201", "PY007"), expression


@pytest.mark.parametrize("place", ["helper", "kernel", "result"])
def test_expressions_as_annotation(sample, place):
    """An annotation names a type, or is refused."""
    for node, expression in EXPRESSIONS.items():
        _check_annotation(sample, node, expression, place)


def _check_annotation(sample, node, expression, place):
    names = "a, b = 5, 3\n"
    if place == "helper":
        text = names + f"def helper(x: {expression}):\n    return x\n" + in_function("return helper(4)")
    elif place == "result":
        text = names + f"def helper(x) -> {expression}:\n    return x\n" + in_function("return helper(4)")
    else:
        text = names + f"@prog.xdp\ndef other(ctx: {expression}) -> int:\n    return 2\n" + in_function("return 4")
    found = outcome(sample, text)
    # A tuple is the type of tuples; everything else here is no type.
    assert str(found).startswith("PY") or found in ("no Python", "fails in Python") or (
        found == 4 and node in (ast.Tuple, ast.Starred, ast.Slice)
    ), (expression, found)  # fmt: skip


STATEMENTS = {
    ast.Return: "return a + 1",
    ast.Delete: "m[1] = 2\ndel m[1]\nreturn m.get(1, 9)",
    ast.Assign: "x, y = a, b\nreturn x * 10 + y",
    ast.AugAssign: "x = a\nx -= b\nreturn x",
    ast.AnnAssign: "x: s64 = a\nreturn x",
    ast.For: "n = 0\nfor i in range(a):\n    n += i\nreturn n",
    ast.While: "n = 0\nwhile n < a:\n    n += 2\nreturn n",
    ast.If: "if a > b:\n    return 1\nelse:\n    return 2",
    ast.Match: "match a:\n    case 5 | 6:\n        return 1\n    case x:\n        return x",
    ast.Assert: "assert a == 5\nreturn 1",
    ast.Expr: "same(a)\nreturn 1",
    ast.Pass: "pass\nreturn 1",
    ast.Break: "n = 0\nfor i in range(9):\n    n += 1\n    if i == b:\n        break\nreturn n",
    ast.Continue: "n = 0\nfor i in range(9):\n    if i == b:\n        continue\n    n += i\nreturn n",
    ast.FunctionDef: "def inner():\n    return 1\nreturn inner()",
    ast.AsyncFunctionDef: "async def inner():\n    pass\nreturn 1",
    ast.ClassDef: "class C:\n    x = 1\nreturn C.x",
    ast.AsyncFor: "async for x in t:\n    pass\nreturn 1",
    ast.With: "with open('x'):\n    pass\nreturn 1",
    ast.AsyncWith: "async with t:\n    pass\nreturn 1",
    ast.Raise: "raise ValueError",
    ast.Try: "try:\n    x = 1\nexcept ValueError:\n    x = 2\nreturn x",
    ast.TryStar: "try:\n    x = 1\nexcept* ValueError:\n    x = 2\nreturn x",
    ast.Import: "import os\nreturn 1",
    ast.ImportFrom: "from os import path\nreturn 1",
    ast.Global: "global t\nt = 1\nreturn 1",
    ast.Nonlocal: "nonlocal q\nq = 1\nreturn 1",
}
if sys.version_info >= (3, 12):
    STATEMENTS[ast.TypeAlias] = "type X = int\nreturn 1"

BODIES = {
    "function": "{s}",
    "if": "if a:\n{i}\nreturn 50",
    "else": "if not a:\n    pass\nelse:\n{i}\nreturn 50",
    "for": "for j in range(2):\n{i}\nreturn 50",
    "long for": "for j in range(400):\n{i}\nreturn 50",
    "else of for": "for j in range(2):\n    pass\nelse:\n{i}\nreturn 50",
    "while": "j = 0\nwhile j < 2:\n    j += 1\n{i}\nreturn 50",
    "case": "match b:\n    case 3:\n{ii}\nreturn 50",
    "after return": "if a:\n    return 60\n    x = 1\n{i}\nreturn 50",
}


@pytest.mark.parametrize("body", BODIES)
def test_statements_in_body(sample, body):
    for statement in STATEMENTS.values():
        text = BODIES[body].replace("{ii}", textwrap.indent(statement, "        "))
        text = text.replace("{i}", textwrap.indent(statement, "    ")).replace("{s}", statement)
        text = in_function(text)
        check(outcome(sample, text), text)


TARGETS = {
    ast.Name: ("x", "x"),
    ast.Attribute: ("a_in.value", "a_in.value"),
    ast.Subscript: ("m[2]", "m.get(2, 0)"),
    ast.Tuple: ("(x, y)", "x * 10 + y"),
    ast.List: ("[x, y]", "x * 10 + y"),
    ast.Starred: ("(x, *y)", "x"),
}


@pytest.mark.parametrize("node", TARGETS, ids=lambda node: node.__name__)
@pytest.mark.parametrize(
    "form",
    ["{t} = {v}", "{t} += {v}", "{t}: s64 = {v}", "for {t} in ({v}, {v}):\n    pass", "del {t}", "y = {t} = {v}"],
)
def test_target(sample, node, form):
    target, read = TARGETS[node]
    given = "(a, b)" if node in (ast.Tuple, ast.List, ast.Starred) else "a"
    body = form.replace("{t}", target).replace("{v}", given) + f"\nreturn {read}"
    found = outcome(sample, in_function(body))
    if isinstance(found, int):
        single = {"{t} = {v}": 5, "y = {t} = {v}": 5, "for {t} in ({v}, {v}):\n    pass": 5, "{t}: s64 = {v}": 5}
        wanted = (
            53
            if given != "a"
            else single.get(form, {ast.Attribute: 10, ast.Subscript: 5 if "+=" in form else 0}.get(node))
        )
        assert found == wanted, body
    else:
        assert found == "no Python" or str(found).startswith("PY"), body


PATTERNS = {
    ast.MatchValue: "5",
    ast.MatchSingleton: "None",
    ast.MatchSequence: "(5, 3)",
    ast.MatchMapping: "{1: 2}",
    ast.MatchClass: "Kind()",
    ast.MatchStar: "(5, *rest)",
    ast.MatchAs: "5 as x",
    ast.MatchOr: "4 | 5",
}


@pytest.mark.parametrize("subject", ["a", "(a, b)", "a == 5"])
@pytest.mark.parametrize("node", PATTERNS, ids=lambda node: node.__name__)
def test_pattern(sample, node, subject):
    body = f"match {subject}:\n    case {PATTERNS[node]}:\n        return 1\n    case _:\n        return 2"
    check(outcome(sample, in_function(body)), in_function(body))


def leaves(base):
    found, todo = set(), [base]
    while todo:
        for cls in todo.pop().__subclasses__():
            if cls.__module__ == "ast" and cls.__name__ not in ("Num", "Str", "Bytes", "NameConstant", "Ellipsis", "Index",
                                                                "ExtSlice", "Suite", "AugLoad", "AugStore", "Param"):  # fmt: skip
                found.add(cls)
                todo.append(cls)
    return found


@pytest.mark.parametrize(
    ("base", "table", "covered"),
    [
        (ast.expr, tables.EXPRESSIONS, EXPRESSIONS),
        (ast.stmt, tables.STATEMENTS, STATEMENTS),
        (ast.pattern, tables.PATTERNS, PATTERNS),
    ],
)
def test_tables_and_tests_have_every_node(base, table, covered):
    nodes = leaves(base)
    assert nodes == set(table)
    assert nodes == set(covered)


OPERATORS = {
    ast.operator: ["+", "-", "*", "@", "/", "%", "**", "<<", ">>", "|", "^", "&", "//"],
    ast.unaryop: ["-", "+", "~", "not "],
    ast.cmpop: ["==", "!=", "<", "<=", ">", ">=", "is", "is not", "in", "not in"],
    ast.boolop: ["and", "or"],
}


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize("right", ["b", "3", "t", "True", "None", "'x'", "1.5"])
def test_operators(sample, right):
    for base, signs in OPERATORS.items():
        for sign in signs:
            _check_operator(sample, base, sign, right)


def _check_operator(sample, base, sign, right):
    expression = f"({sign}a)" if base is ast.unaryop else f"(a {sign} {right})"
    text = in_function(f"return {expression}")
    found = outcome(sample, text)
    if isinstance(found, int):
        assert found == in_python(text), text
    else:
        assert str(found).startswith("PY") or found == "ended", text


def test_every_operator_is_tried():
    for base, signs in OPERATORS.items():
        assert len(signs) == len(base.__subclasses__())
    assert len(list(itertools.chain(*OPERATORS.values()))) == 29
