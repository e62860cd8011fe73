"""The stack is measured, kept within the kernel's limit by moving locals, and refused with a place where it cannot be."""

import pytest
from kernel_programs import CTX, Build, loaded, run

from osmia.compiler.codegen import V3, V4, compile_module
from osmia.compiler.codegen.compile import weight
from osmia.compiler.codegen.stack import Code, excess, measure
from osmia.compiler.ir import Ptr, Space, Value
from osmia.diagnostics import CompileError
from osmia.object.layout import S64, U32, U64, Array
from osmia.object.spec import MapSpec


def pressure(count):
    """A program that has ``count`` values alive at once."""
    build = Build()
    values = []
    for number in range(count):
        value = build.emit("helper", type=U64, name="ktime_get_ns")
        values.append(build.emit("xor", value, build.const(number, U64), type=U64))
    total = values[0]
    for value in reversed(values[1:]):
        total = build.emit("mul", build.emit("xor", total, value, type=U64), value, type=U64)
    build.ret(build.emit("trunc", total, type=U32))
    return build.module


def test_frames_are_measured():
    build = Build()
    array = build.local("array", Array(U64, 9))
    build.emit("zero", array, size=72)
    build.emit("helper", array, build.const(72), type=S64, name="get_current_comm")
    build.ret(0)
    code = measure(compile_module(build.module))["entry"]
    assert code.frame == 72 and code.calls == [] and not code.tail and code.size > 10


def test_calls_and_callbacks_are_followed():
    from osmia.compiler.ir import FUNC_REF

    build = Build()
    build.module.maps["jump"] = MapSpec("jump", "prog_array", key=U32, value=U32, max_entries=2)
    local = build.local("n", U64)
    callback = build.emit("func.addr", type=FUNC_REF, function="each")
    build.emit("helper", build.const(3), callback, local, build.const(0, U64), type=S64, name="loop")
    build.ret(build.emit("trunc", build.emit("call", build.arg(0), type=U64, function="leaf"), type=U32))
    build.function("leaf", [Value("x", U64)], U64, "static")
    build.ret(build.emit("udiv", build.f.params[0], build.const(3, U64), type=U64))
    build.function("each", [Value("i", U32), Value("n", Ptr(Space.STACK, U64))], S64, "callback").ret(0)
    build.function("other", [Value("ctx", CTX)], U32, "program", "raw_tp/sys_exit")
    build.emit("tail_call", build.const(1), map="jump")
    build.ret(0)
    functions = measure(compile_module(build.module))
    assert set(functions) == {"entry", "leaf", "each", "other"}
    assert set(functions["entry"].calls) == {"leaf", "each"}
    assert functions["other"].tail and not functions["entry"].tail


def code(name, frame, calls=(), tail=False):
    made = Code(name, 10)
    made.frame, made.calls, made.tail = frame, list(calls), tail
    return made


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([("a", 512, ())], None),
        ([("a", 513, ())], (["a"], 544, 512)),
        ([("a", 256, ("b",)), ("b", 256, ())], None),
        ([("a", 257, ("b",)), ("b", 250, ())], (["a", "b"], 544, 512)),
        ([("a", 1, ("b", "c")), ("b", 1, ()), ("c", 480, ())], None),
        ([("a", 1, ("b", "c")), ("b", 1, ()), ("c", 481, ())], (["a", "c"], 544, 512)),
        ([(str(n), 0, (str(n + 1),)) for n in range(8)], None),
        ([(str(n), 0, (str(n + 1),)) for n in range(9)], (list("012345678"), 9, 8)),
        ([("a", 250, ("b",)), ("b", 8, (), True)], (["a", "b"], 256, 256)),
        ([("a", 180, ("b",)), ("b", 300, (), True)], None),
    ],
)
def test_chains_are_counted_as_the_kernel_counts(rows, wanted):
    found = excess({row[0]: code(*row) for row in rows})
    assert (found and (found.chain, found.depth, found.limit)) == wanted


@pytest.mark.kernel
def test_the_kernel_agrees_with_the_limit():
    """The most that is not refused loads; LLVM's own spills move locals out of the way."""
    with loaded(pressure(50)) as collection:
        run(collection)
    build = Build()
    array = build.local("array", Array(U64, 30))
    build.emit("zero", array, size=240)
    build.emit("helper", array, build.const(240), type=S64, name="get_current_comm")
    values = [build.emit("helper", type=U64, name="ktime_get_ns") for _ in range(40)]
    build.emit("helper", array, build.const(240), type=S64, name="get_current_comm")
    total = values[0]
    for value in reversed(values):
        total = build.emit("mul", total, value, type=U64)
    build.ret(build.emit("trunc", total, type=U32))
    blob = compile_module(build.module)
    assert b"osmia_scratch" in blob, "240 bytes and 40 values do not fit together"
    assert measure(blob)["entry"].frame <= 512
    with loaded(build.module) as collection:
        run(collection)


def test_what_cannot_move_is_refused_with_its_place():
    with pytest.raises(CompileError) as caught:
        compile_module(pressure(90))
    error = caught.value
    assert error.code == "IR013" and error.span.file == "prog.py" and error.hint and "entry" in error.notes[0][0]


def chain(length, body):
    """A program whose function f0 calls f1 and so on, all inlined, each with ``body`` operations."""
    build = Build()
    build.ret(build.emit("trunc", build.emit("call", build.arg(0), type=U64, function="f0"), type=U32))
    for number in range(length):
        build.function(f"f{number}", [Value("x", U64)], U64, "inline")
        value = build.f.params[0]
        for _ in range(body):
            value = build.emit("udiv", value, build.emit("add", value, build.const(7, U64), type=U64), type=U64)
        if number + 1 < length:
            first = build.emit("call", value, type=U64, function=f"f{number + 1}")
            value = build.emit("call", first, type=U64, function=f"f{number + 1}")
        build.ret(value)
    return build.module


@pytest.mark.parametrize("target", [V3, V4], ids=["v3", "v4"])
def test_code_that_is_too_large_is_refused(target, monkeypatch):
    monkeypatch.setattr("osmia.compiler.codegen.compile.MOST_INSNS", 800)
    monkeypatch.setattr("osmia.compiler.codegen.compile.SURELY_SMALL", 100)
    with pytest.raises(CompileError) as caught:
        compile_module(chain(5, 20), target)
    assert caught.value.code == "IR023"


def test_code_that_explodes_is_refused_before_it_is_generated():
    module = chain(40, 3)
    with pytest.raises(CompileError) as caught:
        weight(module)
    assert caught.value.code == "IR023"
    with pytest.raises(CompileError) as caught:
        compile_module(module)
    assert caught.value.code == "IR023"
