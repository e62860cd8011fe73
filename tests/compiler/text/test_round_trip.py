"""Text and module are the same thing."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ir_modules import PLAIN, VALUE_TYPES, modules, plain

from osmia.compiler.ir import Block, Function, FunctionBuilder, Module, Op, Ptr, Space, Value
from osmia.compiler.ir.ops import OPS
from osmia.compiler.text import op_text, parse_module, print_function, print_module
from osmia.diagnostics import CompileError, Span
from osmia.object.layout import U32, U64, Enum, Field, Struct
from osmia.object.spec import EventSchema

SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@SLOW
@given(modules())
def test_modules_come_back_exactly(module):
    text = print_module(module)
    again = parse_module(text)
    assert plain(again) == plain(module)
    assert print_module(again) == text


@SLOW
@given(modules())
def test_without_spans_everything_else_comes_back(module):
    text = print_module(module, spans=False)
    assert "\nsource !" not in text
    assert print_module(parse_module(text), spans=False) == text


@settings(max_examples=100, deadline=None)
@given(PLAIN)
def test_extras_keep_their_kinds(value):
    module = Module("m")
    module.extras["x"] = value
    assert plain(parse_module(print_module(module)).extras) == plain({"x": value})


@settings(max_examples=100, deadline=None)
@given(VALUE_TYPES)
def test_types_come_back(type_):
    module = Module("m")
    module.functions["f"] = Function("f", [Value("p", type_)])
    assert plain(parse_module(print_module(module)).functions["f"].params[0].type) == plain(type_)


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operation_has_a_text(name):
    """One operation of every row, with the least that it needs."""
    row = OPS[name]
    samples = {
        "int": 1, "size": 8, "offset": 0, "bool": True, "bytes": b"\1", "str": "text", "local": "l", "map": "m",
        "global": "g", "function": "f", "label": "bb", "cases": ((1, "a"), (2, "b")), "steps": (("pid", U32), (2, U64)),
    }  # fmt: skip
    from osmia.compiler.ir import KType

    samples["ktype"] = KType("task_struct")
    param = Value("p", Ptr(Space.STACK, U32))
    least = sum(1 for kind in row.operands if kind[-1] not in "?*")
    attrs = {key: samples[kind.removesuffix("?")] for key, kind in row.attrs.items()}
    result = None if row.result == "void" else Value("r", U32)
    function = Function("f", [param])
    block = Block("entry")
    block.ops = [Op(name, (param,) * least, attrs, result, Span("a.py", 3, 4, 3, 9))]
    function.blocks.append(block)
    module = Module("m")
    module.functions["f"] = function
    again = parse_module(print_module(module))
    assert plain(again) == plain(module)
    assert op_text(block.ops[0]) in print_function(function)


def test_structs_of_one_name_stay_apart():
    module = Module("m")
    small = Struct("E", [Field("a", U32, 0)], 4, 4)
    large = Struct("E", [Field("inner", small, 0), Field("b", U64, 8)], 16, 8)
    other = Enum("E", U32, [("A", 1)])
    for key, layout in (("x", large), ("y", small)):
        module.events[key] = EventSchema("E", key, layout)
    function = Function("f", [])
    FunctionBuilder(function).local("e", other)
    module.functions["f"] = function
    text = print_module(module)
    assert 'struct E.2 named "E" size 16 align 8 {' in text
    again = parse_module(text)
    assert again.events["x"].layout == large and again.events["y"].layout == small
    assert again.functions["f"].locals["e"].type == other


def test_the_text_is_the_one_of_the_documentation():
    module = Module("demo")
    function = Function("f", [Value("a", U64)], U64)
    build = FunctionBuilder(function)
    build.span = Span("prog.py", 12, 8, 12, 20)
    total = build.emit("add", function.params[0], build.const(3, U64), type=U64)
    build.emit("ret", total)
    module.functions["f"] = function
    assert print_module(module) == (
        'module "demo" license "GPL"\n'
        'source !0 "prog.py"\n'
        "\n"
        "function inline @f(%a: u64) -> u64 {\n"
        "^entry:\n"
        "  %0: u64 = const; value=3 !0:12:8..20\n"
        "  %1: u64 = add %a, %0 !0:12:8..20\n"
        "  ret %1 !0:12:8..20\n"
        "}\n"
    )


def test_values_are_one_object_each_and_may_be_used_before_their_line():
    text = """
    module "m" license "GPL"
    function inline @f() -> u64 {
    ^entry: br; to=^two
    ^one: ret %x
    ^two:
      %x: u64 = const; value=1   # a comment
      br; to=^one
    }
    """
    function = parse_module(text).functions["f"]
    ops = list(function.ops())
    assert ops[1].args[0] is ops[2].result


@pytest.mark.parametrize("value", [object(), float("inf"), float("nan"), {1, 2}, 1 << 2000, [[[object()]]]])
def test_what_has_no_text_is_refused(value):
    module = Module("m")
    module.extras["x"] = value
    with pytest.raises(CompileError) as caught:
        print_module(module)
    assert caught.value.code == "IR309"


def test_deep_values_and_types_are_refused():
    deep = ()
    for _ in range(100):
        deep = (deep,)
    module = Module("m")
    module.extras["x"] = deep
    with pytest.raises(CompileError, match="IR309"):
        print_module(module)
    type_ = Ptr(Space.MAP, U32)
    for _ in range(100):
        type_ = Ptr(Space.MAP, type_)
    module = Module("m")
    module.functions["f"] = Function("f", [Value("p", type_)])
    with pytest.raises(CompileError, match="IR309"):
        print_module(module)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=20))
def test_any_name_is_a_name(name):
    module = Module(name)
    function = Function(name, [Value(name, U64)], U64)
    function.blocks.append(Block(name))
    function.blocks[0].ops = [Op("ret", (function.params[0],), {}, None, Span(name, 1))]
    module.functions[name] = function
    assert plain(parse_module(print_module(module))) == plain(module)
