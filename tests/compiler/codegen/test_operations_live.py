"""Operations that need the kernel: CO-RE, probe reads, packets, buffers, callbacks, kernel functions and the rest."""

import ctypes
import os
import time
from pathlib import Path

import pytest
from kernel_programs import CTX, Build, loaded, run

from osmia.compiler.ir import FUNC_REF, MAP_REF, KType, Ptr, Space, Value
from osmia.compiler.ir import Global as Variable
from osmia.kernel.test_run import test_run as run_once
from osmia.object.layout import BOOL, S32, S64, U8, U16, U32, U64, Array, Char, Field, Struct
from osmia.object.spec import MapSpec

pytestmark = pytest.mark.kernel

TASK = KType("task_struct")
LOCK = Struct("bpf_spin_lock", [Field("val", U32, 0)], 4, 4)
TIMER = Struct("bpf_timer", [Field("a", U64, 0), Field("b", U64, 8)], 16, 8)


def values(collection, module):
    return {name: collection.get_global(name) for name in module.globals}


def test_kernel_types_by_core():
    build = Build()
    emit = build.emit
    typed = emit("helper", type=Ptr(Space.BTF, TASK), name="get_current_task_btf")
    plain = emit("helper", type=Ptr(Space.KERNEL, TASK), name="get_current_task")
    field = emit("core.field", typed, type=Ptr(Space.BTF, S32), base=TASK, steps=(("tgid", S32),))
    build.out("tgid", emit("load", field, type=S32))
    up = Ptr(Space.KERNEL, TASK)
    field = emit("core.field", plain, type=Ptr(Space.KERNEL, up), base=TASK, steps=(("real_parent", up),))
    parent = emit("read.value", field, type=up)
    field = emit("core.field", parent, type=Ptr(Space.KERNEL, S32), base=TASK, steps=(("tgid", S32),))
    build.out("parent", emit("read.value", field, type=S32))
    comm = (("comm", Char(16)),)
    field = emit("core.field", plain, type=Ptr(Space.KERNEL, Char(16)), base=TASK, steps=comm)
    build.module.globals["comm"] = Variable("comm", Char(16), ".bss")
    place = emit("global.addr", type=Ptr(Space.GLOBAL, Char(16)), name="comm")
    build.out("length", emit("read.kernel_str", place, field, type=S64, size=16))
    second = emit("core.field", typed, type=Ptr(Space.BTF, U8), base=TASK, steps=(*comm, (1, U8)))
    build.out("letter", emit("load", second, type=U8))
    nested = (("se", KType("sched_entity")), ("vruntime", U64))
    build.out(
        "runtime", emit("load", emit("core.field", typed, type=Ptr(Space.BTF, U64), base=TASK, steps=nested), type=U64)
    )
    for name, base in (("direct", typed), ("probed", plain)):
        build.out(f"{name}_bits", emit("core.bitfield", base, type=U32, base=TASK, steps=(("in_execve", U32),)))
        build.out(f"{name}_whole", emit("core.bitfield", base, type=S64, base=TASK, steps=(("tgid", S32),)))
    build.ret(0)
    with loaded(build.module) as collection:
        run(collection)
        found = values(collection, build.module)
    own = Path("/proc/self/comm").read_text().strip()
    assert found["tgid"] == found["direct_whole"] == found["probed_whole"] == os.getpid()
    assert found["parent"] == os.getppid()
    assert found["comm"] == own and found["length"] == len(own) + 1 and chr(found["letter"]) == own[1]
    assert found["runtime"] > 0 and found["direct_bits"] == found["probed_bits"] == 0


def test_facts_about_kernel_types():
    build = Build()
    emit = build.emit
    colour = KType("hrtimer_restart", "enum")
    comm = (("comm", Char(16)),)
    build.out("there", emit("core.field_exists", type=BOOL, base=TASK, steps=comm))
    build.out("missing", emit("core.field_exists", type=BOOL, base=TASK, steps=(("no_such_member", U32),)))
    build.out("size", emit("core.field_size", type=U64, base=TASK, steps=comm))
    build.out("offset", emit("core.field_offset", type=U64, base=TASK, steps=comm))
    build.out("type", emit("core.type_exists", type=BOOL, base=TASK))
    build.out("no_type", emit("core.type_exists", type=BOOL, base=KType("no_such_type_at_all")))
    build.out("bytes", emit("core.type_size", type=U64, base=TASK))
    build.out("value", emit("core.enum_value", type=U64, base=colour, enumerator="HRTIMER_RESTART"))
    build.out("enumerator", emit("core.enum_exists", type=BOOL, base=colour, enumerator="HRTIMER_NORESTART"))
    build.out("no_enumerator", emit("core.enum_exists", type=BOOL, base=colour, enumerator="HRTIMER_MAYBE"))
    build.ret(0)
    with loaded(build.module) as collection:
        run(collection)
        found = values(collection, build.module)
    from osmia.btf.kernel import kernel_btf
    from osmia.btf.types import Struct as KernelStruct

    task = kernel_btf().by_name("task_struct", KernelStruct)
    assert found["there"] and not found["missing"] and found["size"] == 16 and found["bytes"] == task.size
    assert found["offset"] == next(m for m in task.members if m.name == "comm").bit_offset // 8
    assert found["type"] and not found["no_type"]
    assert found["value"] == 1 and found["enumerator"] and not found["no_enumerator"]


def test_the_same_accesses_twice_in_one_process():
    """LLVM keeps accesses of earlier modules; a second compilation must not meet them."""
    for _ in range(3):
        test_facts_about_kernel_types()


def test_packets():
    context = Ptr(Space.CTX, None)
    build = Build("xdp", U32, [Value("ctx", context)])
    emit = build.emit
    data = emit("ctx.packet", type=Ptr(Space.PACKET), offset=0, name="data")
    end = emit("ctx.packet", type=Ptr(Space.PACKET), offset=4, name="data_end")
    ether, inner, other = build.branch("ether", "inner", "other")
    header = Ptr(Space.PACKET, Array(U8, 14), False, 14)
    start = emit("br.packet", data, build.const(0, U64), end, type=header, size=14, then=ether.label, other=other.label)
    build.b.start(ether)
    kind = emit("load", emit("field", start, type=Ptr(Space.PACKET, U16, False, 2), offset=12, name="kind"), type=U16)
    word = Ptr(Space.PACKET, U32, False, 4)
    place = emit(
        "br.packet", data, emit("zext", kind, type=U64), end, type=word, size=4, then=inner.label, other=other.label
    )
    build.b.start(inner)
    value = emit("load", place, type=U32)
    emit("store", place, emit("bswap", value, type=U32))
    build.ret(value)
    build.b.start(other)
    build.ret(0xFEED)
    with loaded(build.module) as collection:

        def at(offset):
            return bytes(12) + offset.to_bytes(2, "little") + bytes(range(50))

        for offset in (16, 60, 15):
            packet = at(offset)
            result = run(collection, data=packet)
            assert result.retval == int.from_bytes(packet[offset : offset + 4], "little")
            assert result.data[offset : offset + 4] == packet[offset : offset + 4][::-1]
        for offset in (61, 64, 0x7FFF, 0xFFFF, 0xFFFC):
            assert run(collection, data=at(offset)).retval == 0xFEED


def test_callbacks():
    build = Build()
    total = build.local("total", U64)
    build.emit("store", total, build.const(5, U64))
    callback = build.emit("func.addr", type=FUNC_REF, function="each")
    arguments = (build.arg(0, U32), callback, total, build.const(0, U64))
    build.out("rounds", build.emit("helper", *arguments, type=S64, name="loop"))
    build.out("total", build.emit("load", total, type=U64))
    build.ret(0)
    params = [Value("index", U32), Value("sum", Ptr(Space.STACK, U64))]
    build.function("each", params, S64, "callback")
    more = build.emit("zext", params[0], type=U64)
    build.emit("store", params[1], build.emit("add", build.emit("load", params[1], type=U64), more, type=U64))
    build.ret(0)
    with loaded(build.module) as collection:
        run(collection, "entry", 10)
        assert (collection.get_global("rounds"), collection.get_global("total")) == (10, 50)


def test_tail_calls():
    build = Build()
    build.module.maps["jump"] = MapSpec(
        "jump", "prog_array", key=U32, value=U32, max_entries=3, contents=[((1).to_bytes(4, "little"), "second")]
    )
    build.emit("tail_call", build.arg(0, U32), map="jump")
    build.ret(11)
    build.function("second", [Value("ctx", CTX)], U32, "program", "raw_tp/sys_enter").ret(22)
    with loaded(build.module) as collection:
        assert [run(collection, "entry", index).retval for index in (1, 2, 77)] == [22, 11, 11]


def test_ring_buffer():
    record = Struct.of("record", [("a", U32), ("b", U64), ("c", Char(5))])
    build = Build()
    build.module.maps["ring"] = MapSpec("ring", "ringbuf", max_entries=4096, value=record)
    place, other = build.nonnull(build.emit("ring.reserve", type=Ptr(Space.RING, record, True), map="ring"))
    build.emit("zero", place, size=record.size)
    field = build.emit("field", place, type=Ptr(Space.RING, U64), offset=8, name="b")
    build.emit("store", field, build.arg(0))
    build.emit("ring.submit", place)
    build.ret(1)
    build.b.start(other)
    build.ret(0)
    with loaded(build.module) as collection:
        results = [run(collection, "entry", number).retval for number in range(200)]
        assert results[0] == 1 and results[-1] == 0, "the ring takes records until it is full"
        assert 80 < results.count(1) < 130


def test_kernel_functions():
    build = Build("syscall", U32, [Value("ctx", Ptr(Space.CTX, Array(U8, 64)))])
    emit = build.emit
    found = emit("kfunc", build.const(os.getpid(), S32), type=Ptr(Space.BTF, TASK, True), name="bpf_task_from_pid")
    task, other = build.nonnull(found)
    field = emit("core.field", task, type=Ptr(Space.BTF, S32), base=TASK, steps=(("pid", S32),))
    build.out("pid", emit("load", field, type=S32))
    emit("kfunc", task, name="bpf_task_release")
    build.out("missing", emit("kfunc.exists", type=BOOL, name="bpf_no_such_function"))
    build.out("there", emit("kfunc.exists", type=BOOL, name="bpf_task_release"))
    build.ret(1)
    build.b.start(other)
    build.ret(0)
    with loaded(build.module) as collection:
        assert run_once(collection.programs["entry"], context=bytes(64)).retval == 1
        assert values(collection, build.module) == {"pid": os.getpid(), "missing": False, "there": True}


def test_weak_kernel_function_that_is_missing():
    build = Build("syscall", U32, [Value("ctx", Ptr(Space.CTX, Array(U8, 64)))])
    then, other = build.branch("then", "other")
    known = build.emit("kfunc.exists", type=BOOL, name="bpf_no_such_function")
    build.emit("condbr", known, then=then.label, other=other.label)
    build.b.start(then)
    build.ret(build.emit("kfunc", build.const(1, U32), type=U32, name="bpf_no_such_function", weak=True))
    build.b.start(other)
    build.ret(7)
    with loaded(build.module) as collection:
        assert run_once(collection.programs["entry"], context=bytes(64)).retval == 7


def test_configuration_and_symbols():
    build = Build()
    emit = build.emit
    build.out("hz", emit("kconfig", type=U32, name="CONFIG_HZ"))
    build.out("on", emit("kconfig", type=BOOL, name="CONFIG_BPF_SYSCALL"))
    build.out("version", emit("kconfig", type=U32, name="LINUX_KERNEL_VERSION"))
    nothing = emit("ksym.addr", type=Ptr(Space.KERNEL, None, True), name="no_such_symbol", weak=True)
    build.out("nothing", emit("ptr.to.int", nothing, type=U64))
    build.ret(0)
    with loaded(build.module) as collection:
        run(collection)
        found = values(collection, build.module)
    release = [int(part.split("-")[0]) for part in os.uname().release.split(".")[:2]]
    assert found["hz"] in (100, 250, 300, 1000) and found["on"] and found["nothing"] == 0
    assert [found["version"] >> 16, found["version"] >> 8 & 255] == release


def test_messages_load_and_run():
    build = Build()
    build.emit("printk", build.arg(0), build.arg(1, S32), format="osmia test %llu %d \u00e9")
    build.emit("printk", *[build.arg(index) for index in range(5)], format="osmia test %d %d %d %d %llx")
    build.ret(3)
    with loaded(build.module) as collection:
        assert run(collection, "entry", 1, 2, 3, 4, 5).retval == 3


def test_maps_in_maps():
    inner = MapSpec("", "array", key=U32, value=U64, max_entries=1)
    build = Build()
    build.module.maps["numbers"] = MapSpec("numbers", "array", key=U32, value=U64, max_entries=1)
    build.module.maps["outer"] = MapSpec(
        "outer", "array_of_maps", key=U32, value_size=4, max_entries=2, inner=inner,
        contents=[((1).to_bytes(4, "little"), "numbers")],
    )  # fmt: skip
    key = build.local("key", U32)
    build.emit("store", key, build.arg(0, U32))
    found, missing = build.nonnull(build.emit("map.lookup", key, type=Ptr(Space.MAP, None, True), map="outer"))
    zero = build.local("zero", U32)
    value = build.emit("helper", found, zero, type=Ptr(Space.MAP, U64, True), name="map_lookup_elem")
    number, none = build.nonnull(value)
    build.emit("atomic.add", number, build.const(3, U64))
    build.ret(1)
    for block, result in ((missing, 2), (none, 3)):
        build.b.start(block)
        build.ret(result)
    with loaded(build.module) as collection:
        assert [run(collection, "entry", index).retval for index in (1, 0, 1)] == [1, 2, 1]
        assert collection.maps["numbers"][0] == 6


def test_spin_locks():
    layout = Struct("locked", [Field("lock", LOCK, 0), Field("count", U64, 8)], 16, 8)
    build = Build("xdp", U32, [Value("ctx", Ptr(Space.CTX, None))])
    build.module.maps["m"] = MapSpec("m", "array", key=U32, value=layout, max_entries=1)
    key = build.local("key", U32)
    value, other = build.nonnull(build.emit("map.lookup", key, type=Ptr(Space.MAP, layout, True), map="m"))
    lock = build.emit("field", value, type=Ptr(Space.MAP, LOCK), offset=0, name="lock")
    count = build.emit("field", value, type=Ptr(Space.MAP, U64), offset=8, name="count")
    build.emit("helper", lock, name="spin_lock")
    more = build.emit("add", build.emit("load", count, type=U64), build.const(1, U64), type=U64)
    build.emit("store", count, more)
    build.emit("helper", lock, name="spin_unlock")
    build.ret(1)
    build.b.start(other)
    build.ret(0)
    with loaded(build.module) as collection:
        assert [run(collection, data=bytes(64)).retval for _ in range(3)] == [1, 1, 1]


def test_timers():
    layout = Struct("timed", [Field("timer", TIMER, 0), Field("fired", U64, 16)], 24, 8)
    build = Build("syscall", U32, [Value("ctx", Ptr(Space.CTX, None))])
    build.module.maps["m"] = MapSpec("m", "array", key=U32, value=layout, max_entries=1)
    key = build.local("key", U32)
    value, other = build.nonnull(build.emit("map.lookup", key, type=Ptr(Space.MAP, layout, True), map="m"))
    table = build.emit("map.ref", type=MAP_REF, map="m")
    build.emit("helper", value, table, build.const(1, U64), type=S64, name="timer_init")
    callback = build.emit("func.addr", type=FUNC_REF, function="tick")
    build.emit("helper", value, callback, type=S64, name="timer_set_callback")
    build.emit("helper", value, build.const(1000, U64), build.const(0, U64), type=S64, name="timer_start")
    build.ret(1)
    build.b.start(other)
    build.ret(0)
    params = [Value("map", MAP_REF), Value("key", Ptr(Space.MEM, U32)), Value("value", Ptr(Space.MAP, layout))]
    build.function("tick", params, S32, "callback")
    fired = build.emit("field", params[2], type=Ptr(Space.MAP, U64), offset=16, name="fired")
    build.emit("store", fired, build.const(77, U64))
    build.ret(0)
    with loaded(build.module) as collection:
        assert run_once(collection.programs["entry"], context=bytes(8)).retval == 1
        deadline = time.monotonic() + 5
        while collection.maps["m"][0][1] != 77:
            assert time.monotonic() < deadline
            time.sleep(0.005)


def test_user_memory():
    text = ctypes.create_string_buffer(b"hello user memory")
    build = Build()
    emit = build.emit
    source = emit("int.to.ptr", build.arg(0), type=Ptr(Space.USER, Char(32)))
    build.module.globals["text"] = Variable("text", Char(32), ".bss")
    place = emit("global.addr", type=Ptr(Space.GLOBAL, Char(32)), name="text")
    build.out("length", emit("read.user_str", place, source, build.arg(1), type=S64, size=32))
    build.out("word", emit("read.value", emit("cast.ptr", source, type=Ptr(Space.USER, U32)), type=U32))
    build.module.globals["raw"] = Variable("raw", Char(8), ".bss")
    raw = emit("global.addr", type=Ptr(Space.GLOBAL, Char(8)), name="raw")
    build.out("error", emit("read.user", raw, source, type=S64, size=8))
    build.ret(0)
    with loaded(build.module) as collection:
        run(collection, "entry", ctypes.addressof(text), 1 << 40)
        found = values(collection, build.module)
        assert (found["text"], found["length"], found["word"]) == ("hello user memory", 18, 0x6C6C6568)
        assert (found["raw"], found["error"]) == ("hello us", 0)
        run(collection, "entry", ctypes.addressof(text), 6)
        assert (collection.get_global("text"), collection.get_global("length")) == ("hello", 6)
        run(collection, "entry", 8, 32)
        found = values(collection, build.module)
        assert (found["length"], found["word"], found["error"], found["raw"]) == (-14, 0, -14, ""), (
            "a fault gives zeros"
        )


def test_global_functions_are_verified_on_their_own():
    build = Build()
    build.out("a", build.emit("call", build.arg(0, U32), build.arg(1, S64), type=S32, function="sum"))
    build.out("b", build.emit("call", build.arg(0, U32), type=BOOL, function="large"))
    build.ret(0)
    params = [Value("a", U32), Value("b", S64)]
    build.function("sum", params, S32, "global")
    low = build.emit("trunc", params[1], type=S32)
    build.ret(build.emit("add", build.emit("retype", params[0], type=S32), low, type=S32))
    params = [Value("a", U32)]
    build.function("large", params, BOOL, "global")
    build.ret(build.emit("ugt", params[0], build.const(5), type=BOOL))
    with loaded(build.module) as collection:
        run(collection, "entry", 10, -20)
        assert values(collection, build.module) == {"a": -10, "b": True}


@pytest.mark.parametrize("size", [8, 13, 64, 500, 1024, 1025, 4000, 70_000])
def test_pieces_of_every_size(size):
    """Copying, zeroing and comparing, in line and in loops; the last one does not fit per-CPU scratch memory."""
    build = Build()
    layout = Array(U8, size)
    for name in ("a", "b"):
        build.module.globals[name] = Variable(
            name, layout, ".data", bytes((7 * i + (name == "b")) % 251 for i in range(size))
        )
    a, b = (build.emit("global.addr", type=Ptr(Space.GLOBAL, layout), name=name) for name in ("a", "b"))
    middle = build.local("middle", layout)
    build.out("same", build.emit("memeq", a, b, type=BOOL, size=size))
    build.emit("copy", middle, a, size=size)
    build.out("copied", build.emit("memeq", middle, a, type=BOOL, size=size))
    build.emit("copy", b, middle, size=size)
    build.emit("zero", a, size=size)
    last = build.emit("element", middle, build.const(size - 1), type=Ptr(Space.STACK, U8))
    build.emit("store", last, build.const(255, U8))
    build.out("differs", build.emit("memeq", middle, b, type=BOOL, size=size))
    build.ret(1)
    with loaded(build.module) as collection:
        assert run(collection).retval == 1
        assert not collection.get_global("same") and collection.get_global("copied")
        assert not collection.get_global("differs")
        assert collection.get_global("a") == [0] * size
        assert collection.get_global("b") == [7 * i % 251 for i in range(size)]


@pytest.mark.parametrize("size", [5, 32, 200, 300, 5000])
def test_text_comparison(size):
    build = Build()
    for name in ("a", "b"):
        build.module.globals[name] = Variable(name, Char(size), ".data")
    a, b = (build.emit("global.addr", type=Ptr(Space.GLOBAL, Char(size)), name=name) for name in ("a", "b"))
    local = build.local("local", Char(size))
    build.emit("copy", local, a, size=size)
    build.out("equal", build.emit("streq", local, b, type=BOOL, size=size))
    build.ret(0)
    with loaded(build.module) as collection:
        for first, second in ((b"", b""), (b"ab", b"ab\0x"), (b"abc", b"abd"), (b"x" * size, b"x" * size),
                              (b"x" * size, b"x" * (size - 1) + b"y"), (b"ab", b"a")):  # fmt: skip
            collection.set_global("a", first)
            collection.set_global("b", second)
            run(collection)
            wanted = first.split(b"\0")[0] == second.split(b"\0")[0]
            assert collection.get_global("equal") is wanted, (first, second)


def test_loads_of_different_memory_are_not_merged():
    """The verifier refuses one load instruction that reads a kernel type on one way and a map value on another."""
    build = Build()
    build.module.globals["fallback"] = Variable("fallback", S32, ".data", (77).to_bytes(4, "little"))
    emit = build.emit
    task = emit("helper", type=Ptr(Space.BTF, TASK), name="get_current_task_btf")
    result = build.b.local("result", S32)
    kernel, own, after = build.branch("kernel", "own", "after")
    emit("condbr", emit("eq", build.arg(0), build.const(0, U64), type=BOOL), then=kernel.label, other=own.label)
    build.b.start(kernel)
    field = emit("core.field", task, type=Ptr(Space.BTF, S32), base=TASK, steps=(("tgid", S32),))
    build.b.set(result, emit("load", field, type=S32))
    emit("br", to=after.label)
    build.b.start(own)
    build.b.set(result, emit("load", emit("global.addr", type=Ptr(Space.GLOBAL, S32), name="fallback"), type=S32))
    emit("br", to=after.label)
    build.b.start(after)
    build.ret(emit("retype", build.b.get(result), type=U32))
    with loaded(build.module) as collection:
        assert run(collection, "entry", 0).retval == os.getpid()
        assert run(collection, "entry", 1).retval == 77


def test_large_switches_become_comparisons():
    """No jump tables and no tables of results, which would be data that the verifier knows nothing of."""
    from osmia.compiler.codegen import compile_module
    from osmia.object.elf_file import ElfFile

    build = Build()
    blocks = build.branch(*["case"] * 100, "default")
    cases = tuple((number * 3, block.label) for number, block in enumerate(blocks[:100]))
    build.emit("switch", build.arg(0), cases=cases, default=blocks[100].label)
    for number, block in enumerate(blocks):
        build.b.start(block)
        build.ret(number * number)
    sections = [section.name for section in ElfFile(compile_module(build.module), "").sections]
    assert not [name for name in sections if name.startswith(".rodata")]
    with loaded(build.module) as collection:
        for number in (0, 1, 50, 99):
            assert run(collection, "entry", 3 * number).retval == number * number
        assert run(collection, "entry", 1).retval == 10_000
