"""What is in the finished object: lines, types, maps, globals; and that libbpf takes it."""

import hashlib
import os
import shutil
import subprocess
import sys
import textwrap
import threading

import pytest
from kernel_programs import Build
from random_modules import random_module

from osmia.btf.reader import Btf
from osmia.btf.types import Func, Struct, Var
from osmia.compiler.codegen import V3, V4, Target, compile_module, llvm_ir, optimised_ir
from osmia.compiler.codegen import llvm as engine
from osmia.compiler.ir import Global, KType, Ptr, Space, Value
from osmia.diagnostics import CompileError, Span
from osmia.diagnostics.sources import register_source
from osmia.object.elf import read_object
from osmia.object.layout import BOOL, S32, S64, U8, U16, U32, U64, Array, Bytes, Char, Enum
from osmia.object.layout import Struct as Layout
from osmia.object.spec import MapSpec

TASK = KType("task_struct")
COLOUR = Enum("colour", U32, [("RED", 0), ("BLUE", 7)])


def counter():
    build = Build("tracepoint/sched/sched_switch")
    build.module.maps["counts"] = MapSpec("counts", "hash", key=U32, value=U64, max_entries=100)
    key = build.local("key", U32)
    build.b.span = Span("count.py", 3, 4)
    build.emit("store", key, build.const(1))
    build.b.span = Span("count.py", 4, 2000)
    found, other = build.nonnull(build.emit("map.lookup", key, type=Ptr(Space.MAP, U64, True), map="counts"))
    build.b.span = Span("other.py", 1, 0)
    build.emit("atomic.add", found, build.const(1, U64))
    build.ret(0)
    build.b.start(other)
    build.ret(0)
    return build.module


def test_lines_point_at_the_source():
    register_source("count.py", 'first\nsecond\n    key = 1  # caf\u00e9 "quoted" \\ back\n    found = counts[key]\n')
    register_source("other.py", "count += 1\n")
    register_source("prog.py", "def entry(ctx):\n")
    spec = read_object(compile_module(counter()), "counter")
    lines = {(line.file, line.line): line for line in spec.programs["entry"].lines}
    assert lines["count.py", 3].text == '    key = 1  # caf\u00e9 "quoted" \\ back' and lines["count.py", 3].column == 5
    assert lines["count.py", 4].text == "    found = counts[key]"
    assert lines["count.py", 4].column == 0, "columns that do not fit are left out, the line is right"
    assert lines["other.py", 1].text == "count += 1"
    assert spec.programs["entry"].functions[0][2] == "entry"


def test_equal_modules_give_equal_objects():
    first, second = (compile_module(random_module(5, True, 6)) for _ in range(2))
    assert first == second
    script = (
        "import sys, hashlib; sys.path.insert(0, sys.argv[1])\n"
        "from random_modules import random_module\n"
        "from osmia.compiler.codegen import compile_module\n"
        "blobs = [compile_module(random_module(seed, seed % 2 == 1, 6)) for seed in range(12)]\n"
        "print(hashlib.sha256(b''.join(blobs)).hexdigest(), hashlib.sha256(blobs[5]).hexdigest())"
    )
    folder = __file__.rpartition("/")[0]
    outputs = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True, env=environment
        )
        outputs.append(done.stdout.split())
    assert outputs[0] == outputs[1], "also in processes that order their sets differently"
    assert outputs[0][1] == hashlib.sha256(first).hexdigest()


def test_maps_come_back_as_they_were():
    key = Layout.of("key", [("pid", U32), ("cpu", U16), ("on", BOOL), ("name", Char(16)), ("colour", COLOUR)])
    value = Layout.of(
        "value", [("raw", Bytes(9)), ("numbers", Array(U64, 3)), ("key", key), ("sum", S64), ("small", S32)]
    )
    specs = [
        MapSpec("a", "hash", key=key, value=value, max_entries=1000, flags=1),
        MapSpec("b", "percpu_array", key=U32, value=U64, max_entries=4),
        MapSpec("c", "lpm_trie", key=Layout.of("cidr", [("prefix", U32), ("address", Array(U8, 4))]), value=U8,
                max_entries=16, flags=1),
        MapSpec("d", "ringbuf", max_entries=8192, value=value),
        MapSpec("e", "stack_trace", key=U32, value=Array(U64, 127), max_entries=64),
        MapSpec("f", "queue", value=U32, max_entries=8),
        MapSpec("g", "bloom_filter", value=U64, max_entries=64, extra=3),
        MapSpec("h", "lru_hash", key=Char(16), value=Array(S32, 4), max_entries=3_000_000_000, numa_node=1),
        MapSpec("i", "hash_of_maps", key=U32, value_size=4, max_entries=8,
                inner=MapSpec("", "array", key=U32, value=key, max_entries=2)),
        MapSpec("j", "hash", key=U32, value=U32, max_entries=1, pin="/sys/fs/bpf/x"),
    ]  # fmt: skip
    build = Build()
    for spec in specs:
        build.module.maps[spec.name] = spec
    build.ret(0)
    found = read_object(compile_module(build.module), "maps").maps
    for spec in specs:
        made = found[spec.name]
        assert (made.kind, made.key_size, made.max_entries, made.flags, made.extra) == (
            spec.kind, spec.key_size, spec.max_entries, spec.flags, spec.extra,
        )  # fmt: skip
        if spec.kind not in ("ringbuf", "stack_trace"):
            assert made.value_size == spec.value_size
            assert (made.key, made.value) == (spec.key, spec.value)
    assert found["i"].inner.key == U32 and found["i"].inner.value == key
    assert found["j"].pin and found["h"].numa_node == 1


def test_globals_come_back_as_they_were():
    build = Build()
    layouts = {"count": U64, "colour": COLOUR, "name": Char(16), "pair": Layout.of("pair", [("a", U8), ("b", U64)])}
    for number, (name, layout) in enumerate(layouts.items()):
        section = (".data", ".rodata", ".bss")[number % 3]
        init = b"" if section == ".bss" else bytes(range(1, layout.size + 1))
        build.module.globals[name] = Global(name, layout, section, init)
    build.ret(0)
    spec = read_object(compile_module(build.module), "globals")
    for name, layout in layouts.items():
        variable, wanted = spec.global_vars[name], build.module.globals[name]
        assert variable.layout == layout and variable.map_name.endswith(wanted.section)
        contents = spec.maps[variable.map_name].contents
        data = contents[0][1] if contents else bytes(200)
        assert data[variable.offset : variable.offset + layout.size] == wanted.init


def test_types_of_functions_and_kernel_types():
    build = Build("syscall", U32, [Value("ctx", Ptr(Space.CTX, Array(U8, 8)))])
    task = build.emit("kfunc", build.const(1, S32), type=Ptr(Space.BTF, TASK, True), name="bpf_task_from_pid")
    found, other = build.nonnull(task)
    field = build.emit("core.field", found, type=Ptr(Space.BTF, S32), base=TASK, steps=(("pid", S32),))
    build.out("pid", build.emit("load", field, type=S32))
    build.emit("kfunc", found, name="bpf_task_release")
    number = build.emit("helper", type=U32, name="get_prandom_u32")
    build.ret(build.emit("call", number, type=U32, function="leaf"))
    build.b.start(other)
    build.ret(0)
    build.function("leaf", [Value("number of it", U32)], U32, "static")
    build.ret(build.emit("add", build.f.params[0], build.const(1), type=U32))
    spec = read_object(compile_module(build.module), "types")
    btf = Btf.from_bytes(spec.btf)
    types = [btf.by_id(number) for number in range(1, btf.end_id)]
    functions = {entry.name: entry for entry in types if isinstance(entry, Func)}
    assert {"entry", "leaf", "bpf_task_from_pid", "bpf_task_release"} <= set(functions)
    names = [entry.name for entry in types if isinstance(entry, Struct)]
    assert "task_struct" in names and not any("___" in name for name in names)
    assert [row[2] for row in spec.programs["entry"].functions] == ["entry", "leaf"]
    assert spec.programs["entry"].core and all(reloc.access for reloc in spec.programs["entry"].core)
    assert {entry.name for entry in types if isinstance(entry, Var)} >= {"pid"}


def test_licence_and_names():
    module = counter()
    module.license = "Dual BSD/GPL"
    spec = read_object(compile_module(module), "x")
    assert spec.license == "Dual BSD/GPL"
    assert list(spec.programs) == ["entry"] and spec.programs["entry"].section == "tracepoint/sched/sched_switch"


def test_dead_functions_are_left_out():
    build = Build()
    build.ret(0)
    build.function("unused", [Value("x", U64)], U64, "static").ret(build.f.params[0])
    assert b"unused" not in compile_module(build.module)


def test_one_setting_has_one_type_in_the_whole_module():
    build = Build()
    build.out("a", build.emit("kconfig", type=U32, name="CONFIG_HZ"))
    build.ret(build.emit("call", type=U32, function="f"))
    build.function("f", [], U32, "static")
    build.out("b", build.emit("kconfig", type=U64, name="CONFIG_HZ"))
    build.ret(0)
    with pytest.raises(CompileError) as caught:
        compile_module(build.module)
    assert caught.value.code == "IR022"


def test_targets():
    build = Build()
    build.ret(build.emit("trunc", build.emit("sext", build.arg(0, U8), type=U64), type=U32))
    v3, v4 = compile_module(build.module, V3), compile_module(build.module, V4)
    assert len(read_object(v4, "").programs["entry"].insns) < len(read_object(v3, "").programs["entry"].insns)
    with pytest.raises(ValueError):
        Target("v2")
    assert V3.modern and not Target("v3", (5, 11)).modern and V3.key() != V4.key()


def test_texts_for_debugging():
    module = counter()
    assert "map_lookup" not in llvm_ir(module) and "define dso_local i32" in llvm_ir(module)
    assert "atomicrmw add" in optimised_ir(module)


def test_threads_may_compile_at_once():
    results, wanted = [], compile_module(counter())

    def work():
        results.extend(compile_module(counter()) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [wanted] * 20


def test_text_that_llvm_refuses_is_an_error_of_ours():
    for text in (
        "this is no module",
        "define i32 @f() { ret i64 0 }",
        "define i32 @f() {\nb:\n %x = add i32 %y, 1\n ret i32 0 }",
    ):
        with pytest.raises(CompileError) as caught:
            engine.llvm().compile(text, V3)
        assert caught.value.code == "IR099" and caught.value.details
    assert compile_module(counter()), "and compiling goes on"


def in_fresh_process(code, *path):
    script = textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", script, *path], capture_output=True, text=True, check=False)


def test_llvmlite_missing_or_unknown(tmp_path):
    code = """
        import os, sys
        from osmia.compiler.codegen import llvm
        from osmia.diagnostics import CompileError
        if sys.argv[1] == "missing":
            sys.path[:] = [entry for entry in sys.path if not os.path.exists(os.path.join(entry, "llvmlite"))]
        else:
            llvm.KNOWN = (1, 2)
        try:
            llvm.llvm()
        except CompileError as error:
            print(error.code, bool(error.hint))
    """
    for what in ("missing", "unknown"):
        assert in_fresh_process(code, what).stdout.split() == ["IR090", "True"], what


def test_the_compiler_does_not_import_what_it_does_not_need():
    code = """
        import sys
        import osmia.compiler.codegen
        heavy = {"llvmlite", "numpy", "elftools", "rich", "dataclasses", "inspect", "ast", "typing", "logging"}
        print(sorted(heavy & set(sys.modules)))
    """
    assert in_fresh_process(code).stdout.strip() == "[]"


def test_it_gets_along_with_llvmlite():
    """A program that uses llvmlite itself sees its own declarations unchanged."""
    code = """
        import llvmlite.binding as binding
        from osmia.compiler.codegen.llvm import llvm
        from osmia.compiler.codegen import V3
        text = 'target triple = "bpfel"\\ndefine i32 @f() { ret i32 0 }'
        llvm().compile(text, V3)
        module = binding.parse_assembly(text)
        module.verify()
        llvm().compile(text, V3)
        print([f.name for f in module.functions])
    """
    assert in_fresh_process(code).stdout.strip() == "['f']"


BPFTOOL = shutil.which("bpftool") or shutil.which("/usr/sbin/bpftool")


@pytest.mark.kernel
@pytest.mark.skipif(not BPFTOOL or not shutil.which("unshare"), reason="needs bpftool and unshare")
def test_libbpf_takes_the_objects(tmp_path):
    """CO-RE, kernel functions, configuration, globals, static and global functions, in libbpf's hands."""
    build = Build("tracepoint/syscalls/sys_enter_openat", U32, [Value("ctx", Ptr(Space.CTX, Array(U64, 8)))])
    emit = build.emit
    build.module.maps["counts"] = MapSpec("counts", "hash", key=U32, value=U64, max_entries=100)
    task = emit("helper", type=Ptr(Space.BTF, TASK), name="get_current_task_btf")
    field = emit("core.field", task, type=Ptr(Space.BTF, S32), base=TASK, steps=(("tgid", S32),))
    build.out("pid", emit("load", field, type=S32))
    build.out("bits", emit("core.bitfield", task, type=U32, base=TASK, steps=(("in_execve", U32),)))
    build.out("size", emit("core.type_size", type=U64, base=TASK))
    enum = KType("hrtimer_restart", "enum")
    build.out("value", emit("core.enum_value", type=U64, base=enum, enumerator="HRTIMER_RESTART"))
    build.out("hz", emit("kconfig", type=U32, name="CONFIG_HZ"))
    build.out("there", emit("kfunc.exists", type=BOOL, name="bpf_no_such_function"))
    build.out("sum", emit("call", build.const(1), type=U32, function="leaf"))
    build.out("more", emit("call", build.const(1), type=U32, function="whole"))
    big = build.local("big", Array(U64, 100))
    emit("zero", big, size=800)
    emit("helper", big, build.const(800), type=S64, name="get_current_comm")
    emit("printk", build.const(1), format="osmia %d")
    build.ret(0)
    for name, kind in (("leaf", "static"), ("whole", "global")):
        build.function(name, [Value("x", U32)], U32, kind)
        build.ret(build.emit("mul", build.f.params[0], build.const(7), type=U32))
    for target in (V3, V4):
        path = tmp_path / f"{target.cpu}.o"
        path.write_bytes(compile_module(build.module, target))
        folder = tmp_path / f"fs-{target.cpu}"
        folder.mkdir()
        script = f"mount -t bpf bpf {folder} && {BPFTOOL} prog loadall {path} {folder}/p && ls {folder}/p"
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
        if "mount:" in done.stderr or "unshare:" in done.stderr:
            pytest.skip("mounting a bpf file system is not permitted here")
        assert done.returncode == 0 and "entry" in done.stdout, done.stderr[-3000:]
