"""Generated code, run by the kernel, gives what the reference evaluator gives."""

import functools
import os
import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kernel_programs import Build, loaded, run
from random_modules import random_module

from osmia.compiler.codegen import V3, V3_OLD, V4, compile_module
from osmia.compiler.codegen.compile import prepare
from osmia.compiler.evaluate import Evaluator
from osmia.compiler.ir import Global, Ptr, Space
from osmia.kernel.load import load
from osmia.kernel.test_run import test_run as run_once
from osmia.object.elf import read_object
from osmia.object.layout import BOOL, S8, S16, S32, S64, U8, U16, U32, U64, Array

pytestmark = pytest.mark.kernel

FUZZ = int(os.environ.get("OSMIA_FUZZ", "16"))
BINARY = ("add", "sub", "mul", "udiv", "sdiv", "umod", "smod", "and", "or", "xor", "shl", "lshr", "ashr")
COMPARE = ("eq", "ne", "ult", "ule", "ugt", "uge", "slt", "sle", "sgt", "sge")
UNARY = ("neg", "not", "bswap")
TYPES = {str(type_): type_ for type_ in (U8, U16, U32, U64, S8, S16, S32, S64)}
EDGES = st.sampled_from(
    [0, 1, 2, 3, 7, 8, 63, 64, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32,
     (1 << 63) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 2]
)  # fmt: skip
WORDS = st.one_of(EDGES, st.integers(0, (1 << 64) - 1), st.integers(-300, 300).map(lambda n: n % (1 << 64)))


def arithmetic(type_, constant=None):
    """A program that computes everything of two words in one type and stores the results."""
    build = Build()
    a = build.arg(0, type_)
    b = build.arg(1, type_) if constant is None else build.const(constant, type_)
    names = [*BINARY, *COMPARE, *UNARY]
    build.module.globals["out"] = Global("out", Array(U64, len(names)), ".bss")
    out = build.emit("global.addr", type=Ptr(Space.GLOBAL, Array(U64, len(names))), name="out")
    for index, name in enumerate(names):
        args = (a,) if name in UNARY else (a, b)
        value = build.emit(name, *args, type=BOOL if name in COMPARE else type_)
        if value.type != U64:
            kind = "retype" if value.type == S64 else "sext" if value.type in (S8, S16, S32) else "zext"
            value = build.emit(kind, value, type=U64)
        place = build.emit("element", out, build.const(index), type=Ptr(Space.GLOBAL, U64))
        build.emit("store", place, value)
    build.ret(1)
    return build.module, names


@functools.cache
def live(name, target, constant=None):
    module, names = arithmetic(TYPES[name], constant)
    collection = load(read_object(compile_module(module, target), "arithmetic"))
    return collection, Evaluator(module), names


@pytest.fixture(scope="module", autouse=True)
def close_programs():
    yield
    for key in ((name, target) for name in TYPES for target in (V3, V4)):
        live(*key)[0].close()
    live.cache_clear()


@pytest.mark.parametrize("target", [V3, V4], ids=["v3", "v4"])
@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(a=1 << 63, b=(1 << 64) - 1)
@example(a=1 << 31, b=(1 << 32) - 1)
@example(a=5, b=0)
@given(a=WORDS, b=WORDS)
def test_arithmetic_at_every_width(name, target, a, b):
    collection, evaluator, names = live(name, target)
    assert run(collection, "entry", a, b).retval == 1
    evaluator.run("entry", struct.pack("<8Q", a, b, 0, 0, 0, 0, 0, 0))
    got, wanted = collection.get_global("out"), evaluator.globals["out"]
    assert dict(zip(names, got, strict=True)) == dict(zip(names, wanted, strict=True))


@pytest.mark.parametrize("target", [V3, V4], ids=["v3", "v4"])
@pytest.mark.parametrize("constant", [0, 1, -1, 2, 7, -7, 64, -128])
@pytest.mark.parametrize("name", ["u8", "s16", "u32", "s32", "u64", "s64"])
def test_arithmetic_with_constants(name, target, constant):
    type_ = TYPES[name]
    value = constant if type_.signed else constant % (1 << type_.bits)
    module, names = arithmetic(type_, value)
    evaluator = Evaluator(module)
    with loaded(module, target) as collection:
        for word in (0, 1, 6, 7, 8, 127, 128, 255, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1, 0xDEADBEEF12345678):
            run(collection, "entry", word)
            evaluator.run("entry", struct.pack("<8Q", word, *[0] * 7))
            got, wanted = collection.get_global("out"), evaluator.globals["out"]
            assert dict(zip(names, got, strict=True)) == dict(zip(names, wanted, strict=True)), hex(word)


CONTEXTS = [
    struct.pack("<8Q", *words)
    for words in ([0] * 8, range(1, 9), [(1 << 64) - 1] * 8, [1 << 63, 0xDEADBEEF, 77, 0, 0, 0, 0, 0])
]


@pytest.mark.parametrize("seed", range(FUZZ))
def test_random_programs(seed):
    """Results, globals and maps after every run are the same, also with every aggregate in scratch memory."""
    module = random_module(seed, False, 6 + seed % 20)
    scratched = Evaluator(prepare(module, V3, 0))
    evaluator = Evaluator(module)
    specs = [read_object(compile_module(module, target), "random") for target in (V3, V4)]
    with load(specs[0]) as first, load(specs[1]) as second:
        for context in CONTEXTS:
            value = evaluator.run("program0", context).value
            state = (
                {name: evaluator.globals[name] for name in module.globals},
                {name: dict(evaluator.maps[name].items()) for name in module.maps},
            )
            assert scratched.run("program0", context).value == value
            assert {name: scratched.globals[name] for name in module.globals} == state[0]
            for live_one in (first, second):
                assert run_once(live_one.programs["program0"], context=context).retval == value % (1 << 32)
                assert {name: live_one.get_global(name) for name in module.globals} == state[0]
                assert {name: dict(live_one.maps[name].items()) for name in module.maps} == state[1]


def test_old_target_gives_the_same(request):
    """Code for 5.10: no fetching atomics, variable indices in scratch memory claimed by plain stores."""
    build = Build()
    array = build.local("array", Array(U64, 5))
    inside, other = build.branch("in", "out")
    index = build.emit("br.inrange", build.arg(0, U32), type=U32, count=5, then=inside.label, other=other.label)
    build.b.start(inside)
    place = build.emit("element", array, index, type=Ptr(Space.STACK, U64))
    build.emit("store", place, build.arg(1))
    last = build.emit("element", array, build.const(3), type=Ptr(Space.STACK, U64))
    build.out("got", build.emit("load", last, type=U64))
    build.ret(1)
    build.b.start(other)
    build.ret(0)
    with loaded(build.module, V3_OLD) as collection:
        assert "osmia_scratch" in collection.maps
        assert run(collection, "entry", 5, 9).retval == 0
        for index in (3, 2, 3):
            assert run(collection, "entry", index, 40 + index).retval == 1
            assert collection.get_global("got") == (43 if index == 3 else 0)
