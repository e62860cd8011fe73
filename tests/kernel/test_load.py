"""Loading collections: what becomes of specs, and what every refusal says."""

import os
import shutil
import subprocess
import sys

import pytest

from osmia.diagnostics import (
    AttachError,
    LoadError,
    MapError,
    PermissionMissing,
    RelocationError,
    UnsupportedFeature,
    UsageError,
)
from osmia.kernel import permissions, refusals, release
from osmia.kernel.load import LoadOptions, load
from osmia.kernel.program import open_pinned_program, program_from_id
from osmia.object.layout import BOOL, U8, U32, U64, Char, Enum, Int
from osmia.object.spec import CollectionSpec, CoreReloc, GlobalVar, Hook, LineInfo, MapSpec, Reloc

live = pytest.mark.kernel


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def section(name, size, data=b"", frozen=False):
    return MapSpec(
        name, "array", key=U32, value_size=size, max_entries=1, section=name, frozen=frozen,
        contents=[(bytes(4), data.ljust(size, b"\0"))] if data else [],
    )  # fmt: skip


def with_globals(kit):
    """A program that returns constant + variable, and counts into another variable."""
    text = """
        r1 = map[.rodata][0]+4 ll
        r0 = *(u32 *)(r1 + 0)
        r1 = map[.data][0]+8 ll
        r2 = *(u32 *)(r1 + 0)
        r0 += r2
        r1 = map[.bss][0]+0 ll
        r2 = 1
        lock *(u64 *)(r1 + 0) += r2
        exit
    """
    spec = CollectionSpec("globals")
    spec.maps[".rodata"] = section(".rodata", 8, b"\0\0\0\0\x64\0\0\0", frozen=True)
    spec.maps[".data"] = section(".data", 16, bytes(8) + b"\7\0\0\0")
    spec.maps[".bss"] = section(".bss", 8)
    spec.global_vars["limit"] = GlobalVar("limit", ".rodata", 4, U32)
    spec.global_vars["offset"] = GlobalVar("offset", ".data", 8, U32)
    spec.global_vars["runs"] = GlobalVar("runs", ".bss", 0, U64)
    return kit.add(spec, "sum", "socket_filter", text)


@live
def test_global_data(kit):
    loaded = kit.load(with_globals(kit))
    run = loaded.programs["sum"].test_run
    assert run(bytes(64)).retval == 107 and loaded.get_global("runs") == 1
    loaded.set_global("offset", 11)
    assert loaded.get_global("offset") == 11 and run(bytes(64)).retval == 111 and loaded.get_global("runs") == 2
    assert loaded.maps[".bss"].memory() is not None
    with pytest.raises(MapError) as caught:
        loaded.set_global("limit", 5)
    assert caught.value.code == "MAP005" and loaded.get_global("limit") == 100
    for name, value, code in (("offset", "x", "MAP006"), ("offset", 1 << 40, "MAP006")):
        with pytest.raises(MapError) as caught:
            loaded.set_global(name, value)
        assert caught.value.code == code
    with pytest.raises(UsageError) as caught:
        loaded.get_global("offsett")
    assert caught.value.code == "KRN023" and "offset" in caught.value.hint


@live
def test_global_data_without_mapping(kit, monkeypatch):
    monkeypatch.setattr(release, "has", lambda version: version <= (5, 4))
    spec = with_globals(kit)
    loaded = load(spec)
    monkeypatch.undo()
    kit.keep(loaded)
    assert loaded.maps[".bss"].memory() is None
    loaded.set_global("offset", 13)
    assert loaded.programs["sum"].test_run(bytes(64)).retval == 113 and loaded.get_global("runs") == 1


@live
def test_constants_are_set_before_loading(kit):
    spec = with_globals(kit)
    loaded = kit.load(spec, constants={"limit": 1, "offset": 2})
    assert loaded.programs["sum"].test_run(bytes(64)).retval == 3
    assert kit.load(spec).programs["sum"].test_run(bytes(64)).retval == 107  # the spec is as it was
    for constants in ({"nope": 1}, {"limit": "x"}, {"limit": -1}):
        with pytest.raises(UsageError) as caught:
            load(spec, LoadOptions(constants=constants))
        assert caught.value.code == "KRN023"


@live
def test_constants_prune_branches(kit):
    """A frozen constant is known to the verifier: the branch it rules out may be wrong."""
    text = """
        r2 = map[.rodata][0]+0 ll
        r3 = *(u32 *)(r2 + 0)
        r0 = 0
        if r3 != 1 goto out
        r0 = *(u64 *)(r1 + 4000)
    out:
        exit
    """
    spec = CollectionSpec("prune")
    spec.maps[".rodata"] = section(".rodata", 4, frozen=True)
    spec.global_vars["on"] = GlobalVar("on", ".rodata", 0, U32)
    kit.add(spec, "p", "socket_filter", text)
    kit.load(spec)
    with pytest.raises(LoadError) as caught:
        load(spec, LoadOptions(constants={"on": 1}))
    assert caught.value.code == "KRN010"


@live
def test_the_refusal_names_the_source_line(kit):
    spec = kit.spec("bad", "socket_filter", "r0 = 0\nr2 = r1\nr0 = *(u32 *)(r2 + 4000)\nexit")
    spec.programs["bad"].lines = [
        LineInfo(0, "prog.py", "total = 0", 10, 5),
        LineInfo(1, "prog.py", "x = ctx.nothing", 11, 9),
        LineInfo(3, "prog.py", "return total", 12, 5),
    ]
    with pytest.raises(LoadError) as caught:
        load(spec)
    error = caught.value
    assert error.code == "KRN010" and str(error.span) == "prog.py:11:9"
    assert error.message == "invalid bpf_context access off=4000 size=4"
    assert "processed" in error.details and "at instruction 2" in error.notes[0][0]
    assert "r0 = *(u32 *)(r2 +4000)" in error.notes[0][0]


@live
def test_a_refusal_without_lines_names_the_program(kit):
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("bad", "socket_filter", "exit"))
    assert caught.value.code == "KRN010" and "'bad'" in caught.value.message and "R0 !read_ok" in caught.value.message


@live
def test_nothing_stays_after_a_failure(kit):
    before = descriptors()
    spec = kit.spec(
        "good", "socket_filter", "r0 = 0\nexit", maps=[kit.counter(), MapSpec("r", "ringbuf", max_entries=4096)]
    )
    kit.add(spec, "bad", "socket_filter", "exit")
    for _ in range(3):
        with pytest.raises(LoadError):
            load(spec)
    assert descriptors() == before
    spec.maps["broken"] = MapSpec("broken", "hash", key=U32, value=U32, max_entries=0)
    with pytest.raises(LoadError):
        load(spec)
    assert descriptors() == before


@live
def test_closing_gives_everything_back(kit):
    before = descriptors()
    with load(with_globals(kit)) as loaded:
        assert descriptors() > before
        program = loaded.programs["sum"]
        loaded.get_global("offset")
    assert descriptors() == before
    with pytest.raises(LoadError) as caught:
        program.test_run(bytes(64))
    assert caught.value.code == "KRN042"


@live
def test_choosing_programs(kit):
    spec = kit.spec("one", "socket_filter", "r0 = 1\nexit")
    kit.add(spec, "two", "socket_filter", "r0 = 2\nexit", hook=Hook("socket_filter", "", {"autoload": False}))
    assert list(kit.load(spec).programs) == ["one"]
    assert list(kit.load(spec, programs=["two"]).programs) == ["two"]
    with pytest.raises(UsageError) as caught:
        load(spec, LoadOptions(programs=["three"]))
    assert caught.value.code == "KRN023" and "one" in caught.value.hint


@live
def test_using_a_live_map(kit):
    spec = kit.spec("p", "socket_filter", "r0 = 0\nexit", maps=[kit.counter()])
    own = kit.map("array", key=U32, value=U64, max_entries=1)
    loaded = load(spec, LoadOptions(maps={"count": own}))
    assert loaded.maps["count"] is own
    loaded.close()
    assert own.fd >= 0
    wrong = kit.map("hash", key=U32, value=U64, max_entries=1)
    with pytest.raises(LoadError) as caught:
        load(spec, LoadOptions(maps={"count": wrong}))
    assert caught.value.code == "KRN024" and "kind" in caught.value.message


@live
def test_capacities_from_options(kit):
    spec = kit.spec(
        "p",
        "socket_filter",
        "r0 = 0\nexit",
        maps=[MapSpec("h", "hash", key=U32, value=U32, max_entries=4), MapSpec("r", "ringbuf")],
    )
    loaded = kit.load(spec, entries={"h": 9}, ring_bytes=5000)
    assert loaded.maps["h"].info().max_entries == 9 and loaded.maps["r"].info().max_entries == 8192


@live
def test_a_log_of_a_program_that_loads(kit):
    assert "processed" in kit.load(kit.spec("p", "socket_filter", "r0 = 0\nexit"), log_level=1).programs["p"].log
    assert kit.load(kit.spec("p", "socket_filter", "r0 = 0\nexit")).programs["p"].log == ""


@live
def test_a_log_larger_than_the_first_buffer(kit):
    body = "\n".join(f"r3 = {number}\n*(u64 *)(r10 - {8 + number % 60 * 8}) = r3" for number in range(3000))
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("long", "socket_filter", body + "\nr0 = *(u32 *)(r1 + 4000)\nexit"))
    assert len(caught.value.details) > 100_000 and caught.value.message.endswith("off=4000 size=4")
    assert caught.value.details.startswith(("0: ", "func#0")) and "at instruction 6000" in caught.value.notes[0][0]


@live
def test_too_complex(kit):
    text = "r0 = 0\nr6 = 0\nloop:\nr6 += 1\nr0 += r6\nif r6 < 2000000 goto loop\nexit"
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("forever", "socket_filter", text))
    assert caught.value.code == "KRN011" and caught.value.hint


@live
def test_unresolved_core_relocations_are_refused(kit):
    spec = kit.spec("p", "socket_filter", "r0 = 0\nexit")
    spec.programs["p"].core = [CoreReloc(0, 1, "0:1", 0)]
    with pytest.raises(LoadError) as caught:
        load(spec)
    assert caught.value.code == "KRN019"


@live
@pytest.mark.parametrize(
    "reloc, code",
    [
        (Reloc(0, "map", "nope"), "KRN021"),
        (Reloc(1, "map", "count"), "KRN021"),
        (Reloc(99, "map", "count"), "KRN021"),
        (Reloc(0, "kfunc", "bpf_x"), "KRN021"),
        (Reloc(0, "strange", "count"), "KRN021"),
        (Reloc(0, "ksym", "no_such_symbol_at_all"), "KRN020"),
    ],
)
def test_references_that_lead_nowhere(kit, reloc, code):
    spec = kit.spec("p", "socket_filter", "r1 = 0 ll\nr0 = 0\nexit", maps=[kit.counter()])
    spec.programs["p"].relocs = [reloc]
    before = descriptors()
    with pytest.raises((LoadError, RelocationError)) as caught:
        load(spec)
    assert caught.value.code == code and descriptors() == before


@live
def test_kernel_symbols(kit):
    spec = kit.spec("addr", "raw_tracepoint", "r0 = 0 ll\nexit")
    spec.programs["addr"].relocs = [Reloc(0, "ksym", "vfs_read")]
    with open("/proc/kallsyms") as file:
        address = next(int(line.split()[0], 16) for line in file if line.split()[2] == "vfs_read")
    assert kit.load(spec).programs["addr"].test_run().retval == address & 0xFFFFFFFF
    spec.programs["addr"].relocs = [Reloc(0, "ksym", "no_such_symbol_at_all", weak=True)]
    assert kit.load(spec).programs["addr"].test_run().retval == 0


@live
def test_kfuncs(kit):
    text = """
        call get_smp_processor_id
        r0 = 0
        exit
    """
    spec = kit.spec("k", "raw_tracepoint", text)
    program = spec.programs["k"]
    program.insns = bytes.fromhex("85200000ffffffff") + program.insns[8:]
    program.relocs = [Reloc(0, "kfunc", "bpf_rcu_read_lock")]
    program.insns = bytes.fromhex("85200000ffffffff") * 2 + program.insns[8:]
    program.relocs.append(Reloc(1, "kfunc", "bpf_rcu_read_unlock"))
    assert kit.load(spec).programs["k"].test_run().retval == 0
    program.relocs[0].name = "bpf_no_such_kfunc"
    with pytest.raises(RelocationError) as caught:
        load(spec)
    assert caught.value.code == "KRN020" and "bpf_no_such_kfunc" in caught.value.message


@live
def test_a_weak_kfunc_that_is_missing_may_be_guarded(kit):
    spec = kit.spec(
        "k", "raw_tracepoint", "r1 = 0 ll\nr0 = 7\nif r1 == 0 goto out\ncall get_smp_processor_id\nout:\nexit"
    )
    program = spec.programs["k"]
    code = bytearray(program.insns)
    code[1] = code[1] & 15 | 3 << 4
    code[4 * 8 : 5 * 8] = bytes.fromhex("85200000ffffffff")
    program.insns = bytes(code)
    program.relocs = [
        Reloc(0, "ksym", "bpf_no_such_kfunc", weak=True),
        Reloc(4, "kfunc", "bpf_no_such_kfunc", weak=True),
    ]
    assert kit.load(spec).programs["k"].test_run().retval == 7


@live
def test_programs_with_types_attach_where_the_kernel_says(kit):
    kit.load(kit.spec("t", "tracing", "r0 = 0\nexit", attach="trace_iter", hook=Hook("iter", "task")))
    for hook, attach, near in (
        (Hook("iter", "tasks"), "trace_iter", "task"),
        (Hook("btf_tracepoint", "sched_swich"), "trace_raw_tp", "sched_switch"),
    ):
        with pytest.raises(AttachError) as caught:
            kit.load(kit.spec("t", "tracing", "r0 = 0\nexit", attach=attach, hook=hook))
        assert caught.value.code == "HOOK005" and near in caught.value.hint
    with pytest.raises(AttachError) as caught:
        kit.load(kit.spec("t", "tracing", "r0 = 0\nexit", attach="trace_iter"))
    assert caught.value.code == "HOOK006"


@live
def test_what_this_kernel_does_not_have(kit):
    with pytest.raises(UnsupportedFeature) as caught:
        kit.load(kit.spec("p", "xdp", "call skb_load_bytes\nexit"))
    assert caught.value.code == "KRN014" and "skb_load_bytes" in caught.value.message
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("p", "cgroup_sock_addr", "r0 = 0\nexit"))
    assert caught.value.code == "KRN015" and "cgroup_inet4_connect" in caught.value.hint
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("p", "cgroup_sock_addr", "r0 = 0\nexit", attach="cgroup_sysctl"))
    assert caught.value.code == "KRN015" and "cgroup_sysctl" in caught.value.hint
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("p", "unspec", "r0 = 0\nexit"))
    assert caught.value.code == "KRN012"
    with pytest.raises(LoadError) as caught:
        kit.load(
            kit.spec(
                "p",
                "raw_tracepoint",
                "call ktime_get_ns\nr1 = map[count] ll\nr0 = 0\nexit",
                maps=[kit.counter()],
                flags=1 << 30,
            )
        )
    assert caught.value.code == "KRN016"


@live
def test_a_licence_that_does_not_allow_a_helper(kit):
    text = "r1 = r10\nr1 += -8\nr2 = 8\nr3 = 0\ncall probe_read_kernel\nr0 = 0\nexit"
    with pytest.raises(LoadError) as caught:
        kit.load(kit.spec("p", "raw_tracepoint", text, license="Proprietary"))
    assert caught.value.code in ("KRN010", "KRN014") and "GPL" in caught.value.message


@live
def test_what_the_machines_owner_forbids(kit):
    """Where programs on kernel functions are refused to root itself, the error says whose decision that is."""
    spec = kit.spec("p", "tracing", "r0 = 0\nexit", attach="trace_fentry", hook=Hook("fentry", "vfs_read"))
    try:
        kit.load(spec)
    except PermissionMissing as error:
        assert error.code == "KRN002" and "every right" in error.message and error.errno == 1


@live
def test_loading_without_rights(tmp_path):
    code = (
        "import os\n"
        "from osmia.kernel.load import load\n"
        "from osmia.object.spec import *\n"
        "from osmia.diagnostics import PermissionMissing\n"
        "def attempt(kind):\n"
        "    spec = CollectionSpec('x')\n"
        "    spec.programs['p'] = ProgramSpec('p', 's', kind, bytes.fromhex('b7000000000000009500000000000000'))\n"
        "    try: load(spec)\n"
        "    except PermissionMissing as error: print(error.code, error.message, '|', error.hint)\n"
        "import codecs; codecs.lookup('ascii')\n"
        "import osmia.kernel.refusals, osmia.kernel.permissions, osmia.abi.prog_types, osmia.diagnostics.text\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "attempt(5); attempt(1); attempt(6)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    tracing, plain, network = done.stdout.splitlines()
    assert tracing.startswith("KRN001") and "CAP_BPF and CAP_PERFMON missing" in tracing and "sudo" in tracing
    assert plain.startswith("KRN004" if permissions.sysctl("unprivileged_bpf") else "KRN00")
    assert network.startswith("KRN001") and "CAP_NET_ADMIN" in network


def rights(**changes):
    settings = {
        "effective": (1 << 41) - 1,
        "initial_userns": True,
        "lockdown": "none",
        "sysctls": {"unprivileged_bpf": 2},
    }
    return permissions.Permissions(**{**settings, **changes})


@pytest.mark.parametrize(
    "held, kind, code, words",
    [
        (rights(effective=0), "tracepoint", "KRN001", "CAP_BPF and CAP_PERFMON missing"),
        (rights(effective=1 << 39), "tracepoint", "KRN001", ": CAP_PERFMON missing"),
        (rights(effective=1 << 21), "tracepoint", "KRN002", "every right is there"),
        (rights(initial_userns=False), "tracepoint", "KRN001", "user namespace"),
        (rights(effective=0), "socket_filter", "KRN004", "unprivileged"),
        (rights(lockdown="confidentiality"), "tracepoint", "KRN003", "confidentiality"),
        (rights(lockdown="integrity"), "tracepoint", "KRN003", "integrity"),
        (rights(), "tracepoint", "KRN002", "owner"),
        (rights(effective=0, sysctls={"unprivileged_bpf": 1}), "socket_filter", "KRN004", "next boot"),
    ],
)
def test_why_something_is_not_permitted(held, kind, code, words):
    error = permissions.refusal("cannot load", refusals.needs_of(kind), rights=held, kind=kind)
    assert isinstance(error, PermissionMissing) and error.code == code and words in str(error) and error.hint


def test_lockdown_modes():
    assert permissions.lockdown("none [integrity] confidentiality\n") == "integrity"
    assert permissions.lockdown("[none] integrity confidentiality\n") == "none"


def test_old_kernels_memory_limit(monkeypatch):
    monkeypatch.setattr(release, "running", lambda: (5, 10, 0))
    monkeypatch.setattr(permissions, "current", rights)
    error = refusals.not_permitted("cannot create map 'x'", ("bpf",))
    assert error.code == "KRN005" and "ulimit -l" in error.hint


def test_old_kernels_are_named(monkeypatch):
    monkeypatch.setattr(release, "running", lambda: (4, 19, 0))
    spec = CollectionSpec("x")
    from osmia.object.spec import ProgramSpec

    program = ProgramSpec("p", "s", 31, b"")
    error = refusals.program_refused(program, 22, "")
    assert isinstance(error, UnsupportedFeature) and error.code == "KRN012"
    assert "Linux 5.14" in error.message and "4.19" in error.message
    program = ProgramSpec("p", "s", 18, b"", attach_type=29)
    assert "5.8" in refusals.program_refused(program, 22, "").message
    assert not spec.programs


@pytest.mark.parametrize(
    "number, code", [(12, "KRN005"), (7, "KRN011"), (38, "KRN006"), (16, "KRN033"), (524, "KRN016")]
)
def test_other_errors_of_loading(number, code):
    from osmia.object.spec import ProgramSpec

    error = refusals.program_refused(ProgramSpec("p", "s", 1, bytes(80)), number, "")
    assert error.code == code and error.errno == number


def test_versions():
    assert release.parse("6.1.0-13-amd64") == (6, 1, 0) and release.parse("5.15") == (5, 15, 0)
    assert release.parse("6.18.44-fc-v669") == (6, 18, 44) and release.parse("junk") == (0, 0, 0)
    assert release.has((3, 18)) and not release.has((99, 0)) and release.code() >> 16 == release.running()[0]


# The kernel's settings


SETTINGS = {"CONFIG_HZ": "250", "CONFIG_SMP": "y", "CONFIG_NET_IPGRE": "m", "CONFIG_CC": '"gcc 12"'}
TRISTATE = Enum("libbpf_tristate", U32, [("TRI_NO", 0), ("TRI_YES", 1), ("TRI_MODULE", 2)])


def settings_spec(*variables, weak=()):
    spec = CollectionSpec("settings")
    offset = 0
    for name, layout in variables:
        offset = -(-offset // layout.align) * layout.align
        spec.global_vars[name] = GlobalVar(name, ".kconfig", offset, layout)
        offset += layout.size
    spec.maps[".kconfig"] = MapSpec(
        ".kconfig", "array", key=U32, value_size=offset, max_entries=1, section=".kconfig", role="kconfig", frozen=True
    )
    if weak:
        spec.extras["kconfig_weak"] = list(weak)
    return spec


def test_kernel_settings_by_type():
    from osmia.kernel.kconfig import values

    spec = settings_spec(
        ("CONFIG_HZ", U32), ("CONFIG_SMP", BOOL), ("CONFIG_NET_IPGRE", TRISTATE), ("CONFIG_CC", Char(8)),
        ("CONFIG_X", U64), weak=["CONFIG_X"],
    )  # fmt: skip
    data = values(spec, SETTINGS)
    read = {name: variable.layout.unpack(data, variable.offset) for name, variable in spec.global_vars.items()}
    assert read == {"CONFIG_HZ": 250, "CONFIG_SMP": True, "CONFIG_NET_IPGRE": 2, "CONFIG_CC": "gcc 12", "CONFIG_X": 0}
    assert values(settings_spec(("CONFIG_NET_IPGRE", U8)), SETTINGS) == b"m"


@pytest.mark.parametrize(
    "name, layout",
    [
        ("CONFIG_NOPE", BOOL),
        ("CONFIG_NET_IPGRE", BOOL),
        ("CONFIG_HZ", BOOL),
        ("CONFIG_HZ", Int(8, True)),
        ("CONFIG_SMP", U32),
    ],
)
def test_kernel_settings_that_do_not_fit(name, layout):
    from osmia.kernel.kconfig import values

    with pytest.raises(RelocationError) as caught:
        values(settings_spec((name, layout)), SETTINGS)
    assert caught.value.code == "KRN022" and name in caught.value.message


@live
def test_kernel_settings_in_a_program(kit):
    from osmia.kernel import kconfig

    spec = settings_spec(("CONFIG_HZ", U32), ("LINUX_KERNEL_VERSION", U32))
    text = "r1 = map[.kconfig][0]+{} ll\nr0 = *(u32 *)(r1 + 0)\nexit"
    kit.add(spec, "hz", "socket_filter", text.format(0))
    kit.add(spec, "version", "socket_filter", text.format(4))
    for program in spec.programs.values():
        program.relocs[0].kind = "kconfig"
    loaded = kit.load(spec)
    assert loaded.programs["hz"].test_run(bytes(64)).retval == int(kconfig.read()["CONFIG_HZ"])
    assert loaded.programs["version"].test_run(bytes(64)).retval == release.code()
    assert kit.load(spec, kconfig={"CONFIG_HZ": "77"}).programs["hz"].test_run(bytes(64)).retval == 77


# Pins and ids of programs


@live
def test_programs_by_pin_and_id(kit, bpffs):
    program = kit.load(kit.spec("p", "socket_filter", "r0 = 9\nexit")).programs["p"]
    program.pin(f"{bpffs}/p")
    with open_pinned_program(f"{bpffs}/p") as again:
        assert again.id == program.id and again.test_run(bytes(64)).retval == 9
    with program_from_id(program.id) as again:
        assert again.name == "p" and again.test_run(bytes(64)).retval == 9
    with pytest.raises(LoadError) as caught:
        program_from_id((1 << 31) - 1)
    assert caught.value.code == "KRN030"
    m = kit.map("hash", key=U32, value=U64, max_entries=1)
    m.pin(f"{bpffs}/m")
    with pytest.raises(LoadError) as caught:
        open_pinned_program(f"{bpffs}/m")
    assert caught.value.code == "KRN025" and "is a map" in caught.value.message


# Objects made by clang


SOURCE = r"""
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct {
    __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, int); __type(value, long);
} counts SEC(".maps");
const volatile int step = 3;
int calls;
extern int LINUX_KERNEL_VERSION __kconfig;
extern void bpf_rcu_read_lock(void) __ksym;
extern void bpf_rcu_read_unlock(void) __ksym;
extern const void vfs_read __ksym;
static __attribute__((noinline)) long helper(int key) {
    long *found = bpf_map_lookup_elem(&counts, &key);
    return found ? *found : -1;
}
SEC("raw_tp/sched_switch") int first(void *ctx) {
    int key = 1; long value = 5;
    calls++;
    bpf_rcu_read_lock();
    bpf_rcu_read_unlock();
    if (!LINUX_KERNEL_VERSION || !&vfs_read) return 1;
    bpf_map_update_elem(&counts, &key, &value, 0);
    return helper(1) * step;
}
char _license[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def clang_object(tmp_path_factory):
    if shutil.which("clang") is None or not os.path.exists("/usr/include/bpf/bpf_helpers.h"):
        pytest.skip("needs clang and libbpf-dev")
    folder = tmp_path_factory.mktemp("clang")
    (folder / "x.bpf.c").write_text(SOURCE)
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    command = ["clang", "-target", "bpf", "-g", "-O2", "-mcpu=v3", include, "-c", "x.bpf.c", "-o", "x.bpf.o"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60)
    return (folder / "x.bpf.o").read_bytes()


@live
def test_an_object_made_by_clang(kit, clang_object):
    from osmia.object.elf import read_object

    loaded = kit.load(read_object(clang_object, "x"))
    assert loaded.notes == []
    program = loaded.programs["first"]
    assert program.test_run().retval == 15
    assert loaded.get_global("calls") == 1 and dict(loaded.maps["counts"].items()) == {1: 5}
    assert loaded.get_global("step") == 3
    info = program.info()
    assert info.btf_id and len(info.map_ids) >= 3
    assert kit.load(read_object(clang_object, "x"), constants={"step": 10}).programs["first"].test_run().retval == 50


@live
def test_bad_type_information_is_refused(kit, clang_object):
    from osmia.object.elf import read_object

    spec = read_object(clang_object, "x")
    whole = spec.btf
    before = descriptors()
    for broken in (whole[:30], whole[:-20], b"\0" * 40, whole[:24] + b"\xff" * 200 + whole[224:]):
        spec.btf = broken
        with pytest.raises(LoadError) as caught:
            load(spec)
        assert caught.value.code == "KRN018" and descriptors() == before
