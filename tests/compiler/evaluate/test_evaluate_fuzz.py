"""Whatever a function does, the evaluator ends it with a value or a coded fault, and quickly."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osmia.compiler.evaluate import Evaluator, builtin_helpers
from osmia.compiler.evaluate.helpers.registry import HELPERS
from osmia.compiler.ir import (
    FUNC_REF,
    MAP_REF,
    VOID,
    Block,
    Function,
    Global,
    KArray,
    KType,
    Local,
    Module,
    Op,
    Ptr,
    Space,
    Value,
)
from osmia.compiler.ir.ops import OPS
from osmia.diagnostics import Span
from osmia.diagnostics.errors import OsmiaError
from osmia.object.layout import U8, U32, U64, Array, Bool, Bytes, Char, Enum, Int, Struct
from osmia.object.spec import MapSpec

PAIR = Struct.of("pair", [("a", U32), ("b", U64)])
INTS = [Int(bits, signed) for bits in (8, 16, 32, 64) for signed in (False, True)]
POINTEES = [*INTS, Bool(), PAIR, Array(U32, 3), Char(4), Bytes(5), Enum("e", U8), KType("task"), KArray(U32, 2), None]
POINTERS = st.builds(Ptr, st.sampled_from(Space), st.sampled_from([*POINTEES, Ptr(Space.STACK, U32)]), st.booleans())
TYPES = st.one_of(st.sampled_from([*INTS, Bool(), MAP_REF, FUNC_REF]), POINTERS)
KINDS = [
    "hash", "percpu_hash", "lru_hash", "array", "percpu_array", "lpm_trie", "queue", "stack", "bloom_filter", "prog_array",
    "array_of_maps", "stack_trace", "ringbuf", "perf_event_array", "task_storage", "devmap", "sockmap",
]  # fmt: skip
LABELS = ["entry", "b1", "b2", "nowhere"]
NAMES = st.sampled_from(["a", "b", "nowhere"])
ATTRIBUTES = {
    "int": st.integers(-3, 2**64), "size": st.integers(1, 40), "offset": st.integers(0, 20), "bool": st.booleans(),
    "str": st.sampled_from(["a", "data", "data_end", "pid", "%d %s\n", "%", *builtin_helpers()]),
    "bytes": st.binary(max_size=3), "label": st.sampled_from(LABELS), "local": NAMES, "map": st.sampled_from(KINDS),
    "global": NAMES, "function": st.sampled_from(["f", "g", "nowhere"]), "ktype": st.just(KType("task")),
    "cases": st.lists(st.tuples(st.integers(-2, 3), st.sampled_from(LABELS)), max_size=2).map(tuple),
    "steps": st.lists(st.tuples(st.sampled_from(["a", "b", 0, 5]), st.sampled_from(INTS)), max_size=2).map(tuple),
}  # fmt: skip
PARAMS = {
    value.name: value
    for value in (
        Value("ctx", Ptr(Space.CTX, PAIR)), Value("n", U64), Value("small", U32), Value("p", Ptr(Space.MEM, PAIR)),
        Value("k", Ptr(Space.KERNEL, U64)),
    )
}  # fmt: skip
BODY = [name for name, row in OPS.items() if not row.terminator]
ENDS = [name for name, row in OPS.items() if row.terminator]


def fits(kind, type_, args):
    """Whether a type suits an operand's kind, roughly."""
    kind = kind.rstrip("?*")
    pointer = isinstance(type_, Ptr)
    if kind in ("int", "scalar", "index", "wide", "u64", "bool", "u32"):
        wanted = {"u64": [U64], "bool": [Bool()], "index": [U32, U64], "u32": [U32], "wide": INTS[4:]}.get(kind, INTS)
        return type_ in wanted
    if kind == "same":
        return type_ == args[0].type
    if kind in ("any", "cmp"):
        return True
    if kind in ("map", "func"):
        return type_ is (MAP_REF if kind == "map" else FUNC_REF)
    spaces = {
        "kernel": (Space.KERNEL, Space.BTF), "user": (Space.USER,), "probe": (Space.KERNEL, Space.USER, Space.BTF),
        "packet": (Space.PACKET,), "ctx": (Space.CTX,),
        "read": (Space.STACK, Space.CTX, Space.MAP, Space.RING, Space.GLOBAL, Space.MEM, Space.BTF),
        "write": (Space.STACK, Space.CTX, Space.MAP, Space.RING, Space.GLOBAL, Space.MEM), "ptr": Space, "maybe": Space,
    }  # fmt: skip
    return pointer and type_.space in spaces.get(kind, Space)


@st.composite
def operation(draw, name, values, number):
    row = OPS[name]
    attrs = {
        key: draw(ATTRIBUTES[kind.removesuffix("?")])
        for key, kind in row.attrs.items()
        if kind[-1] != "?" or draw(st.booleans())
    }
    kinds = [kind for kind in row.operands if kind[-1] != "*" and (kind[-1] != "?" or draw(st.booleans()))]
    if name == "helper":
        attrs["name"] = draw(st.sampled_from(builtin_helpers()))
        kinds = HELPERS[attrs["name"]][1]
    args = []
    for kind in kinds:
        suiting = [value for value in values if fits(kind, value.type, args)]
        anything = not suiting or draw(st.integers(0, 30)) == 0
        args.append(draw(st.sampled_from(values if anything else suiting)))
    result = None
    if row.result not in ("void", "any") or (row.result == "any" and draw(st.booleans())):
        type_ = draw(TYPES) if draw(st.integers(0, 20)) == 0 else draw(likely(row, args))
        result = Value(f"v{number}", type_)
        values.append(result)
    return Op(name, tuple(args), attrs, result, Span("fuzz.py", number + 1))


def prelude():
    """Values of every sort to work with."""
    ops = [
        Op("map.ref", (), {"map": kind}, Value(f"m{kind}", MAP_REF), Span("fuzz.py", 1))
        for kind in ("hash", "array", "queue", "ringbuf", "lpm_trie", "stack_trace", "perf_event_array", "task_storage")
    ]
    ops += [
        Op("func.addr", (), {"function": "g"}, Value("fn", FUNC_REF), Span("fuzz.py", 1)),
        Op("local.addr", (), {"local": "room"}, Value("room", Ptr(Space.STACK, PAIR)), Span("fuzz.py", 1)),
        Op("local.addr", (), {"local": "room"}, Value("word", Ptr(Space.STACK, U64)), Span("fuzz.py", 1)),
        Op("global.addr", (), {"name": "a"}, Value("var", Ptr(Space.GLOBAL, U32)), Span("fuzz.py", 1)),
        Op("ctx.packet", (), {"offset": 0, "name": "data"}, Value("data", Ptr(Space.PACKET)), Span("fuzz.py", 1)),
        Op("ctx.packet", (), {"offset": 4, "name": "data_end"}, Value("end", Ptr(Space.PACKET)), Span("fuzz.py", 1)),
        Op("int.to.ptr", (PARAMS["n"],), {}, Value("user", Ptr(Space.USER, U32)), Span("fuzz.py", 1)),
        Op("const", (), {"value": 1}, Value("yes", Bool()), Span("fuzz.py", 1)),
        Op("const", (), {"value": 3}, Value("three", U64), Span("fuzz.py", 1)),
        Op("const", (), {"value": 0}, Value("zero", U64), Span("fuzz.py", 1)),
    ]
    return ops


def likely(row, args):
    """A type that fits the row's rule more often than any."""
    fixed = {"bool": Bool(), "u64": U64, "s64": Int(64, True), "map": MAP_REF, "func": FUNC_REF}
    if row.result in fixed:
        return st.just(fixed[row.result])
    if row.result in ("first", "second") and len(args) > 1:
        return st.just(args[row.result == "second"].type)
    if row.result == "pointee" and isinstance(args[0].type, Ptr) and args[0].type.to in INTS:
        return st.just(args[0].type.to)
    return POINTERS if row.result == "ptr" else st.sampled_from(INTS)


@st.composite
def function(draw, name):
    params = [*PARAMS.values(), Value("x", draw(TYPES))]
    made = Function(
        name, params, draw(TYPES | st.just(VOID)), kind=draw(st.sampled_from(["program", "inline", "callback"]))
    )
    for key in ("a", "b"):
        made.locals[key] = Local(
            key, draw(st.one_of(st.sampled_from([*INTS, Bool(), PAIR, Array(U32, 3), Char(8)]), POINTERS))
        )
    made.locals["room"] = Local("room", PAIR)
    first = prelude()
    values = [*params, *(op.result for op in first)]
    number = 1
    for label in LABELS[:3]:
        block = Block(label)
        block.ops += first
        first = []
        for _ in range(draw(st.integers(0, 6))):
            block.ops.append(draw(operation(draw(st.sampled_from(BODY)), values, number)))
            number += 1
        block.ops.append(draw(operation(draw(st.sampled_from(ENDS)), values, number)))
        number += 1
        made.blocks.append(block)
    return made


@st.composite
def programs(draw):
    module = Module("fuzz")
    for kind in KINDS:
        inner = MapSpec("inner", "array", key=U32, value=U64, max_entries=2) if kind == "array_of_maps" else None
        module.maps[kind] = MapSpec(kind, kind, key=U32, value=U64, max_entries=2, inner=inner)
    module.maps["ringbuf"].max_entries = 64
    module.globals = {"a": Global("a", PAIR, ".bss"), "b": Global("b", U64, ".rodata")}
    for name in ("f", "g"):
        module.functions[name] = draw(function(name))
    return module


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.booleans())
def test_only_coded_faults(module, strict):
    try:
        evaluator = Evaluator(
            module, cpus=2, strict_locals=strict, core={"task": PAIR}, kconfig={"a": 5}, ksyms={"a": 77}
        )
        evaluator.maps["array_of_maps"][0] = evaluator.new_map(module.maps["array_of_maps"].inner)
        evaluator.maps["prog_array"][0] = "g"
        address = evaluator.kernel.map(b"\1" * 32)
        for x in (0, None):
            evaluator.run("f", b"\1\0\0\0", 1, 2, b"\0" * 16, address, x, packet=bytes(40), steps=3000)
    except OsmiaError as error:
        assert error.code.startswith("IR3"), str(error)
        assert str(error)
