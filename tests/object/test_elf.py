"""Objects made by clang: maps of all forms, globals, subprograms, externs, sections of programs."""

import io
import struct

import pytest
from elftools.elf.elffile import ELFFile
from object_sources import EXTERNS, FUNCTIONS, GLOBALS, MAPS

from osmia.abi import attach_types, prog_types
from osmia.diagnostics import ObjectError
from osmia.isa.instruction import decode_program
from osmia.object.elf import read_object
from osmia.object.elf_file import ElfFile
from osmia.object.layout import BOOL, S32, S64, U8, U16, U32, U64, Array, Char, Struct
from osmia.object.spec import CollectionSpec


@pytest.fixture(scope="module")
def maps(compile_c):
    return read_object(compile_c(MAPS), "maps").maps


def test_hash_map_with_typed_key_and_value(maps):
    table = maps["table"]
    assert (table.kind, table.max_entries, table.flags, table.pin) == ("hash", 10240, 1, "/sys/fs/bpf/table")
    assert (table.key_size, table.value_size) == (16, 24)
    assert table.key == Struct.of("key", [("pid", U32), ("address", U64)])
    assert [(f.name, str(f.type), f.offset, f.bit, f.bits) for f in table.value.fields] == [
        ("a", "s32", 0, 0, 0), ("name", "char[16]", 4, 0, 0), ("flag", "u32", 20, 0, 3), ("rest", "u32", 20, 3, 29),
    ]  # fmt: skip
    assert table.value.unpack(struct.pack("<i16sI", -1, b"cat", 7 << 3 | 5)) == (-1, "cat", 5, 7)


def test_maps_without_types(maps):
    assert (maps["ring"].kind, maps["ring"].max_entries, maps["ring"].key_size) == ("ringbuf", 1 << 18, 0)
    perf = maps["perf"]
    assert (perf.kind, perf.key, perf.value, perf.key_size, perf.value_size) == ("perf_event_array", None, None, 4, 4)
    bloom = maps["bloom"]
    assert (bloom.kind, bloom.extra, bloom.key_size, bloom.value) == ("bloom_filter", 3, 0, U32)


def test_maps_of_maps_and_programs(maps):
    outer = maps["maps"]
    assert outer.kind == "array_of_maps" and outer.value_size == 4
    assert (outer.inner.kind, outer.inner.max_entries, outer.inner.key, outer.inner.value) == ("array", 8, S32, U64)
    assert outer.contents == [(struct.pack("<I", 0), "second"), (struct.pack("<I", 2), "first")]
    assert maps["named"].contents == [(struct.pack("<I", 3), "first")]
    assert maps["jumps"].contents == [(struct.pack("<I", 2), "next")]


def test_map_references_in_code(compile_c):
    program = read_object(compile_c(MAPS), "maps").programs["entry"]
    found = {r.name: r.insn for r in program.relocs if r.kind == "map"}
    assert set(found) == {"table", "jumps"}
    insns = decode_program(program.insns)
    slots = [insn for insn in insns for _ in range(insn.slots)]
    for slot in found.values():
        assert (slots[slot].opcode, slots[slot].src, slots[slot].imm64) == (0x18, 1, 0)


@pytest.fixture(scope="module")
def globals_(compile_c):
    return read_object(compile_c(GLOBALS), "globals")


def test_data_sections_are_maps(globals_):
    maps = globals_.maps
    assert set(maps) == {".rodata", ".data", ".bss", ".data.names", ".rodata.other"}
    for name, made in maps.items():
        assert (made.kind, made.key_size, made.max_entries, made.section) == ("array", 4, 1, name)
        assert made.frozen == name.startswith(".rodata") and made.flags == 0x400 | (0x80 if made.frozen else 0)
    assert maps[".bss"].contents == []
    assert maps[".data.names"].contents == [(bytes(4), b"osmia".ljust(12, b"\0"))]


def test_variables_have_layouts_and_initial_values(globals_):
    def value(name):
        var = globals_.global_vars[name]
        made = globals_.maps[var.map_name]
        data = made.contents[0][1] if made.contents else bytes(made.value_size)
        return var.layout.unpack(data, var.offset)

    layouts = {name: var.layout for name, var in globals_.global_vars.items()}
    assert layouts["settings"] == Struct.of("settings", [("port", U16), ("on", BOOL), ("raw", Array(U8, 5))])
    assert (layouts["limit"], layouts["zeros"], layouts["name"]) == (S64, Array(U64, 4), Char(12))
    assert value("settings") == (80, True, [97, 98, 99, 0, 0])
    assert (value("limit"), value("counter"), value("name"), value("other")) == (-5, 7, "osmia", "ab")
    assert (value("more"), value("hidden"), value("zeros")) == ([1, 2, 3], 0, [0, 0, 0, 0])
    assert value("entry.local") == 9


def test_variable_references_carry_offsets(globals_):
    program = globals_.programs["entry"]
    offsets = {(r.name, r.addend) for r in program.relocs if r.kind == "map_value"}
    zeros, counter = globals_.global_vars["zeros"], globals_.global_vars["counter"]
    assert (".data", counter.offset) in offsets
    assert (".bss", zeros.offset) in offsets or (".bss", zeros.offset + 16) in offsets
    slots = [insn for insn in decode_program(program.insns) for _ in range(insn.slots)]
    for reloc in program.relocs:
        if reloc.kind == "map_value":
            assert (slots[reloc.insn].src, slots[reloc.insn].imm, slots[reloc.insn].high) == (2, 0, reloc.addend)


def reachable_names(program):
    return {name for _, _, name in program.functions}


def test_subprograms_are_linked_per_program(compile_c):
    spec = read_object(compile_c(FUNCTIONS), "functions")
    a, b = spec.programs["a"], spec.programs["b"]
    assert set(spec.programs) == {"a", "b"}
    assert reachable_names(a) == {"a", "middle", "deep", "shared", "soft", "visit", "unused_by_b", "elsewhere"}
    assert reachable_names(b) == {"b", "shared", "middle", "deep", "soft", "concealed"}
    assert a.functions[0][2] == "a" and a.functions[0][0] == 0


@pytest.mark.parametrize("name", ["a", "b"])
def test_calls_lead_to_their_functions(compile_c, name):
    program = read_object(compile_c(FUNCTIONS), "functions").programs[name]
    starts = {slot: function for slot, _, function in program.functions}
    slots = [insn for insn in decode_program(program.insns) for _ in range(insn.slots)]
    calls = 0
    for reloc in program.relocs:
        if reloc.kind in ("call", "func"):
            insn = slots[reloc.insn]
            assert (insn.opcode, insn.src) == ((0x85, 1) if reloc.kind == "call" else (0x18, 4))
            assert starts[reloc.insn + 1 + insn.imm] == reloc.name
            calls += 1
    listed = {reloc.insn for reloc in program.relocs}
    pseudo = {i for i, s in enumerate(slots) if s.opcode == 0x85 and s.src == 1}
    assert pseudo <= listed and calls >= 5


def test_functions_lines_and_types_move_along(compile_c):
    spec = read_object(compile_c(FUNCTIONS), "functions")
    from osmia.btf.reader import Btf

    btf = Btf.from_bytes(spec.btf)
    for program in spec.programs.values():
        ends = [slot for slot, _, _ in program.functions[1:]] + [len(program.insns) // 8]
        for (start, type_id, name), end in zip(program.functions, ends, strict=True):
            assert btf.name_of(type_id) == name
            lines = [line for line in program.lines if start <= line.insn < end]
            assert lines[0].insn == start, f"{name} starts without a line"
            # Line 0 stands for what the compiler added itself.
            assert all(line.file.endswith("prog.c") for line in lines) and any(line.line for line in lines)
            first = {"middle": "deep(x)", "shared": "x * weight", "visit": "visit("}.get(name, "")
            assert any(first in line.text for line in lines)
        assert [line.insn for line in program.lines] == sorted(line.insn for line in program.lines)


def test_hidden_function_becomes_static(compile_c):
    from osmia.btf.reader import Btf
    from osmia.btf.types import Func

    btf = Btf.from_bytes(read_object(compile_c(FUNCTIONS), "functions").btf)
    linkage = {name: btf.by_name(name, Func).linkage for name in ("concealed", "shared", "middle")}
    assert linkage == {"concealed": 0, "shared": 1, "middle": 0}


def test_externs(compile_c):
    from osmia.btf.reader import Btf
    from osmia.btf.types import Func

    spec = read_object(compile_c(EXTERNS), "externs")
    program = spec.programs["entry"]
    btf = Btf.from_bytes(spec.btf)
    found = {(r.kind, r.name): r for r in program.relocs}
    assert found["ksym", "bpf_prog_put"].addend == 0
    assert btf.c_type_name(found["ksym", "runqueues"].addend) == "const int"
    assert isinstance(btf.by_id(found["kfunc", "surely_there"].addend), Func)
    weak = {name for (_, name), reloc in found.items() if reloc.weak}
    assert weak == {"maybe_missing", "CONFIG_NOT_THERE", "CONFIG_LOCALVERSION"}
    slots = [insn for insn in decode_program(program.insns) for _ in range(insn.slots)]
    for (kind, name), reloc in found.items():
        source = {"kfunc": 2, "kconfig": 2, "ksym": 0 if name == "bpf_prog_put" else 3}[kind]
        assert slots[reloc.insn].src == source
    assert ("ksym", "maybe_missing") in found and ("kfunc", "maybe_missing") in found
    assert spec.extras["kconfig_weak"] == ["CONFIG_LOCALVERSION", "CONFIG_NOT_THERE"]


def test_kernel_settings_lie_side_by_side(compile_c):
    spec = read_object(compile_c(EXTERNS), "externs")
    made = spec.maps[".kconfig"]
    assert (made.role, made.frozen, made.contents) == ("kconfig", True, [])
    places = sorted(
        (v.offset, v.layout.size, v.layout.align) for v in spec.global_vars.values() if v.map_name == ".kconfig"
    )
    end = 0
    for offset, size, align in places:
        assert offset >= end and offset % align == 0
        end = offset + size
    assert len(places) == 4 and end == made.value_size
    for reloc in spec.programs["entry"].relocs:
        if reloc.kind == "kconfig" and reloc.name != "CONFIG_LOCALVERSION":
            assert reloc.addend == spec.global_vars[reloc.name].offset


SECTIONS = {
    "socket": ("socket_filter", "", 0, "socket_filter", "", {}),
    "tracepoint/sched/sched_switch": ("tracepoint", "", 0, "tracepoint", "sched:sched_switch", {}),
    "tp/syscalls/sys_enter_openat": ("tracepoint", "", 0, "tracepoint", "syscalls:sys_enter_openat", {}),
    "raw_tp/sched_switch": ("raw_tracepoint", "", 0, "raw_tracepoint", "sched_switch", {}),
    "raw_tp.w/nbd_req": ("raw_tracepoint_writable", "", 0, "raw_tracepoint", "nbd_req", {"writable": True}),
    "tp_btf/sched_switch": ("tracing", "trace_raw_tp", 0, "btf_tracepoint", "sched_switch", {}),
    "kprobe/do_unlinkat": ("kprobe", "", 0, "kprobe", "do_unlinkat", {}),
    "kretprobe/do_unlinkat": ("kprobe", "", 0, "kretprobe", "do_unlinkat", {}),
    "kprobe.multi/tcp_*": ("kprobe", "trace_kprobe_multi", 0, "kprobe", "tcp_*", {"multi": True}),
    "fentry/vfs_read": ("tracing", "trace_fentry", 0, "fentry", "vfs_read", {}),
    "fexit.s/vfs_read": ("tracing", "trace_fexit", 16, "fexit", "vfs_read", {}),
    "fmod_ret/security_file_open": ("tracing", "modify_return", 0, "fmod_ret", "security_file_open", {}),
    "lsm/file_open": ("lsm", "lsm_mac", 0, "lsm", "file_open", {}),
    "lsm.s/bpf": ("lsm", "lsm_mac", 16, "lsm", "bpf", {}),
    "lsm_cgroup/socket_bind": ("lsm", "lsm_cgroup", 0, "lsm", "socket_bind", {"cgroup": True}),
    "uprobe//bin/bash:readline+0x8": (
        "kprobe", "", 0, "uprobe", "/bin/bash:readline+0x8",
        {"binary": "/bin/bash", "symbol": "readline", "offset": 8, "pid": 0},
    ),
    "uretprobe/libc.so.6:0x123": (
        "kprobe", "", 0, "uretprobe", "libc.so.6:0x123",
        {"binary": "libc.so.6", "symbol": "", "offset": 0x123, "pid": 0},
    ),
    "uprobe.s": ("kprobe", "", 16, "uprobe", "", {}),
    "usdt//usr/bin/python3:python:gc__start": (
        "kprobe", "", 0, "usdt", "/usr/bin/python3:python:gc__start",
        {"binary": "/usr/bin/python3", "provider": "python", "name": "gc__start", "pid": 0},
    ),
    "xdp": ("xdp", "xdp", 0, "xdp", "", {"frags": False}),
    "xdp.frags": ("xdp", "xdp", 32, "xdp", "", {"frags": True}),
    "xdp.frags/devmap": ("xdp", "xdp_devmap", 32, "xdp", "", {"frags": True, "program": "devmap"}),
    "tc": ("sched_cls", "", 0, "tc", "", {"direction": ""}),
    "classifier": ("sched_cls", "", 0, "tc", "", {"direction": ""}),
    "tcx/egress": ("sched_cls", "tcx_egress", 0, "tc", "", {"direction": "egress"}),
    "action": ("sched_act", "", 0, "tc_action", "", {}),
    "cgroup_skb/ingress": ("cgroup_skb", "cgroup_inet_ingress", 0, "cgroup", "skb/ingress", {"path": ""}),
    "cgroup/connect4": ("cgroup_sock_addr", "cgroup_inet4_connect", 0, "cgroup", "connect4", {"path": ""}),
    "cgroup/dev": ("cgroup_device", "cgroup_device", 0, "cgroup", "device", {"path": ""}),
    "cgroup/getsockopt": ("cgroup_sockopt", "cgroup_getsockopt", 0, "cgroup", "getsockopt", {"path": ""}),
    "cgroup/sock_release": ("cgroup_sock", "cgroup_inet_sock_release", 0, "cgroup", "sock_release", {"path": ""}),
    "sockops": ("sock_ops", "cgroup_sock_ops", 0, "cgroup", "sockops", {"path": ""}),
    "sk_msg": ("sk_msg", "sk_msg_verdict", 0, "sk_msg", "", {}),
    "sk_skb/stream_verdict": ("sk_skb", "sk_skb_stream_verdict", 0, "sk_skb", "stream_verdict", {}),
    "sk_lookup": ("sk_lookup", "sk_lookup", 0, "sk_lookup", "", {}),
    "sk_reuseport/migrate": (
        "sk_reuseport", "sk_reuseport_select_or_migrate", 0, "sk_reuseport", "", {"mode": "migrate"},
    ),
    "iter/task": ("tracing", "trace_iter", 0, "iter", "task", {}),
    "iter.s/task": ("tracing", "trace_iter", 16, "iter", "task", {}),
    "perf_event": ("perf_event", "", 0, "perf_event", "", {}),
    "struct_ops/init": ("struct_ops", "", 0, "struct_ops", "init", {}),
    "syscall": ("syscall", "", 16, "syscall", "", {}),
    "freplace/old": ("ext", "", 0, "freplace", "old", {}),
    "netfilter": ("netfilter", "netfilter", 0, "netfilter", "", {}),
    "flow_dissector": ("flow_dissector", "flow_dissector", 0, "flow_dissector", "", {}),
    "lwt_xmit": ("lwt_xmit", "", 0, "lwt_xmit", "", {}),
    "lwt_seg6local": ("lwt_seg6local", "", 0, "lwt_seg6local", "", {}),
    "lirc_mode2": ("lirc_mode2", "lirc_mode2", 0, "lirc_mode2", "", {}),
    "netkit/peer": ("sched_cls", "netkit_peer", 0, "netkit", "", {"side": "peer"}),
}  # fmt: skip


def test_section_names(compile_c):
    source = "".join(
        f'SEC("{section}") int prog_{index}(void *ctx) {{ return 0; }}\n' for index, section in enumerate(SECTIONS)
    )
    programs = read_object(compile_c(source), "sections").programs
    assert len(programs) == len(SECTIONS)
    for program, wanted in zip((programs[f"prog_{i}"] for i in range(len(SECTIONS))), SECTIONS.items(), strict=True):
        section, (kind, attach, flags, hook, target, options) = wanted
        assert program.section == section
        assert prog_types.prog_type(program.prog_type).name == kind, section
        assert program.attach_type == (attach_types.number(attach) if attach else 0), section
        assert (program.flags, program.hook.kind, program.hook.target) == (flags, hook, target), section
        assert program.hook.options == options, section


def test_optional_and_unknown_sections(compile_c):
    source = """
    SEC("?xdp") int later(void *ctx) { return 0; }
    SEC("mystery") int unknown(void *ctx) { return 0; }
    __attribute__((noinline)) SEC("pool") int pooled(int x) { asm volatile(""); return x + 1; }
    SEC("xdp") int caller(struct xdp_md *ctx) { return pooled(ctx->data); }
    """
    programs = read_object(compile_c(source), "odd").programs
    assert set(programs) == {"later", "unknown", "caller"}, "what others call in an unknown section is no program"
    assert programs["later"].hook.options == {"frags": False, "autoload": False}
    assert (programs["unknown"].prog_type, programs["unknown"].hook.kind) == (0, "func")
    assert reachable_names(programs["caller"]) == {"caller", "pooled"}


def test_license_and_version(compile_c):
    spec = read_object(compile_c('int _version SEC("version") = 0x60c00; SEC("xdp") int p(void *c) { return 0; }'), "v")
    assert (spec.license, spec.extras["kern_version"], spec.programs["p"].license) == ("GPL", 0x60C00, "GPL")


def test_object_without_debug_information(compile_c):
    data = compile_c('SEC("xdp") int p(void *c) { return 2; }', ("-O2",))
    spec = read_object(data, "plain")
    program = spec.programs["p"]
    assert spec.btf == b"" and program.functions == [(0, 0, "p")] and not program.lines
    assert [insn.opcode for insn in decode_program(program.insns)] == [0xB7, 0x95]


def test_functions_of_a_library_object(compile_c):
    spec = read_object(compile_c("int add(int a, int b) { return a + b; }"), "library")
    assert [(p.name, p.prog_type) for p in spec.programs.values()] == [("add", 0)]


def test_reading_is_deterministic_and_plain(compile_c):
    first, second = (read_object(compile_c(FUNCTIONS), "x") for _ in range(2))
    assert first.plain() == second.plain()
    assert CollectionSpec.from_plain(first.plain()).plain() == first.plain()


def test_frame_agrees_with_elftools(compile_c):
    data = compile_c(FUNCTIONS)
    ours, theirs = ElfFile(data, "x"), ELFFile(io.BytesIO(data))
    assert [(s.name, s.size, s.flags) for s in ours.sections] == [
        (s.name, s["sh_size"], s["sh_flags"]) for s in theirs.iter_sections()
    ]
    symbols = [(s.name, s["st_value"], s["st_size"]) for s in theirs.get_section_by_name(".symtab").iter_symbols()]
    # elftools names section symbols after their sections.
    assert [(s.value, s.size) for s in ours.symbols] == [row[1:] for row in symbols]
    for section in ours.sections:
        table = theirs.get_section_by_name(".rel" + section.name)
        if table is not None and section.name:
            wanted = sorted((r["r_offset"], r["r_info_type"], r["r_info_sym"]) for r in table.iter_relocations())
            assert [(r.offset, r.type, r.symbol.index) for r in ours.relocations(section)] == wanted


BROKEN = {
    "OBJ012": 'struct { unsigned a, b, c, d; } old SEC("maps") = {1, 4, 4, 1};',
    "OBJ013": 'struct { __uint(type, BPF_MAP_TYPE_HASH); int key; } m SEC(".maps");',
    "OBJ014": 'struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entry, 1); } m SEC(".maps");',
    "OBJ015": 'int v SEC(".data.v"); struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 1);'
    '__uint(key_size, 4); __array(values, int (void *)); } m SEC(".maps") = { .values = { (void *)&v } };',
    "OBJ016": 'const char *const texts[] SEC(".rodata.t") = { "a", "b" };',
    "OBJ010": 'extern int outside(int); SEC("xdp") int p(void *c) { return outside(1); }',
    "OBJ011": 'int lost SEC("mydata") = 1; SEC("xdp") int p(void *c) { return *(volatile int *)&lost; }',
    "OBJ019": 'long _version SEC("version") = 5;',
    "OBJ007": 'long ops SEC(".struct_ops") = 5;',
}


@pytest.mark.parametrize("code", BROKEN)
def test_refusals(compile_c, code):
    with pytest.raises(ObjectError) as caught:
        read_object(compile_c(BROKEN[code]), "broken.o")
    assert caught.value.code == code
    assert caught.value.message.startswith("broken.o: ")


@pytest.mark.parametrize(
    ("definition", "code", "words"),
    [
        ("__uint(max_entries, 1);", "OBJ013", "no type"),
        ("__uint(type, 99);", "OBJ014", "no map type 99"),
        ("__uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __uint(key_size, 8);", "OBJ013", "4 and 8"),
        ("__uint(type, BPF_MAP_TYPE_HASH); __uint(pinning, 2);", "OBJ014", "pinning 2"),
        ("__uint(type, BPF_MAP_TYPE_HASH); __array(values, int (void *));", "OBJ014", "no static values"),
        ("__uint(type, BPF_MAP_TYPE_HASH); __array(values, int);", "OBJ013", "neither map nor program"),
        ("__uint(type, BPF_MAP_TYPE_HASH); __type(key, struct nowhere);", "OBJ020", "no layout"),
    ],
)
def test_bad_map_definitions(compile_c, definition, code, words):
    with pytest.raises(ObjectError) as caught:
        read_object(compile_c(f'struct nowhere; struct {{ {definition} }} m SEC(".maps");'), "m")
    assert caught.value.code == code and words in caught.value.message


def test_maps_need_types(compile_c):
    source = 'struct { __uint(type, BPF_MAP_TYPE_ARRAY); } m SEC(".maps");'
    with pytest.raises(ObjectError, match=r"OBJ017.*no BTF"):
        read_object(compile_c(source, ("-O2",)), "m")


def test_enum_sizes_of_old_and_new_macros(compile_c):
    source = """
    #define __ulong(name, val) enum { name##_value = val } name
    struct { __uint(type, BPF_MAP_TYPE_BLOOM_FILTER); __type(value, int); __uint(max_entries, 2);
             __ulong(map_extra, 5); } m SEC(".maps");
    """
    assert read_object(compile_c(source), "m").maps["m"].extra == 5
