"""What the textual form cannot write, and how problems are reported; the cases are in tests/cases/ir."""

import pytest

from osmia.compiler import legality
from osmia.compiler.ir import VOID, Function, FunctionBuilder, Global, Module, Op, Ptr, Space, Value
from osmia.compiler.ir.ops import OPS
from osmia.diagnostics import CompileError, MultiError, Span
from osmia.object.layout import BOOL, U32, U64, Bytes
from osmia.object.spec import MapSpec


def program(*ops):
    module = Module("m")
    function = Function("entry", [Value("ctx", Ptr(Space.CTX))], U32, kind="program", section="xdp")
    module.functions["entry"] = function
    builder = FunctionBuilder(function)
    for op in ops:
        builder.block.ops.append(op)
    builder.emit("ret", builder.const(0, U32))
    return module


def codes(module):
    return [found.code for found in legality.problems(module)]


def test_unknown_operations_are_refused():
    assert codes(program(Op("plus", (), {}, None, Span("x.py", 3)))) == ["IR001"]


@pytest.mark.parametrize("name", sorted(OPS))
def test_every_operation_counts_its_operands(name):
    """One operand too many is refused, whatever the operation."""
    row = OPS[name]
    if row.operands and row.operands[-1].endswith("*"):
        pytest.skip("takes any number")
    pointer = Value("p", Ptr(Space.STACK, U64))
    samples = {"int": 1, "size": 8, "offset": 0, "bool": True, "str": "x", "cases": (), "steps": ()}
    attrs = {key: samples.get(kind.rstrip("?"), "entry") for key, kind in row.attrs.items() if kind != "ktype"}
    if "ktype" in row.attrs.values():
        from osmia.compiler.ir import KType

        attrs["base"] = KType("task_struct")
    op = Op(name, (pointer,) * (len(row.operands) + 1), attrs, None, Span("x.py", 1))
    module = program()
    function = module.functions["entry"]
    function.blocks[0].ops.insert(0, op) if not row.terminator else function.blocks[0].ops.__setitem__(
        slice(None), [op]
    )
    found = codes(module)
    assert "IR001" in found or "IR005" in found or "IR007" in found
    if not row.terminator:
        assert "IR001" in found


@pytest.mark.parametrize(
    "name", [name for name in sorted(OPS) if any(not k.endswith("?") for k in OPS[name].attrs.values())]
)
def test_every_operation_needs_its_attributes(name):
    module = program()
    blocks = module.functions["entry"].blocks
    op = Op(name, (), {}, None, Span("x.py", 1))
    blocks[0].ops[:0] = [op]
    if OPS[name].terminator:
        del blocks[0].ops[1:]
    assert "IR003" in codes(module)


def test_a_value_with_two_types_is_refused():
    module = program()
    function = module.functions["entry"]
    builder = FunctionBuilder(Function("other", []))
    value = builder.const(1, U64)
    lie = Value(value.name, U32)
    function.blocks[0].ops[:0] = [builder.block.ops[0], Op("not", (lie,), {}, Value("n", U32), Span("x.py", 1))]
    del function.blocks[0].ops[2]
    function.blocks[0].ops[-1:] = [Op("ret", (Value("n", U32),), {}, None, Span("x.py", 2))]
    assert codes(module) == ["IR006"]


def test_defined_twice():
    module = program()
    ops = module.functions["entry"].blocks[0].ops
    ops.insert(0, ops[0])
    assert codes(module) == ["IR006"]


@pytest.mark.parametrize("name", ["two words", "", "9lives", "llvm.used", "_license", "a\nb", 'a"b'])
def test_names_that_no_object_can_hold(name):
    module = program()
    module.globals[name] = Global(name, U64, ".bss")
    assert "IR016" in codes(module)


def test_global_of_another_length():
    module = program()
    module.globals["g"] = Global("g", Bytes(4), ".data", b"12345")
    assert codes(module) == ["IR003"]


def test_contents_name_what_there_is():
    module = program()
    module.maps["jump"] = MapSpec(
        "jump", "prog_array", key=U32, value=U32, max_entries=2, contents=[(bytes(4), "nothing")]
    )
    module.maps["outer"] = MapSpec(
        "outer", "array_of_maps", key=U32, value_size=4, max_entries=2, contents=[(bytes(4), "nothing")]
    )
    assert codes(module) == ["IR007", "IR007"]


def test_missing_result():
    module = program(Op("const", (), {"value": 1}, None, Span("x.py", 1)))
    assert codes(module) == ["IR004"]


def test_void_results_are_ignored():
    """The builder gives operations without a result a value of type void, which nobody defines or uses."""
    module = program()
    module.globals["g"] = Global("g", BOOL, ".bss")
    function = module.functions["entry"]
    builder = FunctionBuilder(Function("other", []))
    builder.emit("zero", builder.emit("global.addr", type=Ptr(Space.GLOBAL, BOOL), name="g"), type=VOID, size=1)
    for op in builder.block.ops:
        for value in (*op.args, *([op.result] if op.result else ())):
            value.name = f"x{value.name}"
    function.blocks[0].ops[:0] = builder.block.ops
    assert legality.problems(module) == []
    legality.check(module)


def test_all_problems_come_at_once():
    wrong = [Op("const", (), {"value": 1 << 70}, Value(f"v{n}", U32), Span("x.py", n + 1)) for n in range(3)]
    with pytest.raises(MultiError) as caught:
        legality.check(program(*wrong))
    assert [error.span.line for error in caught.value.errors] == [1, 2, 3]
    with pytest.raises(CompileError) as single:
        legality.check(program(wrong[0]))
    assert single.value.code == "IR003" and single.value.span.line == 1


def test_code_that_nothing_reaches_is_checked_all_the_same():
    module = program()
    function = module.functions["entry"]
    builder = FunctionBuilder(function)
    function.blocks.pop()
    dead = builder.new_block("dead")
    builder.start(dead)
    builder.emit("ret", Value("nothing", U64))
    assert codes(module) == ["IR015"]
