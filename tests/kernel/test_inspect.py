"""Inspection: objects that the tests made, seen by id, with their attach points, owners, code and statistics."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from struct import pack

import pytest

from osmia.abi import attach_types, map_types, prog_types
from osmia.btf import types as btf
from osmia.btf.writer import BtfBuilder
from osmia.diagnostics import LoadError
from osmia.kernel import inspect, syscall
from osmia.kernel.inspect_links import event_name
from osmia.kernel.inspect_mounts import cgroup_name, mounts_of
from osmia.kernel.probe_programs import EXIT, Loader, constant, insn

pytestmark = pytest.mark.kernel
BPFTOOL = shutil.which("bpftool") or "/usr/sbin/bpftool"


@pytest.fixture
def keep():
    """Closes descriptors at the end."""
    made = []

    def add(fd):
        assert fd >= 0, os.strerror(-fd)
        made.append(fd)
        return fd

    yield add
    for fd in reversed(made):
        os.close(fd)


@pytest.fixture
def table(keep):
    """A hash map's descriptor and id."""
    fd = keep(syscall.map_create(map_types.number("hash"), 4, 8, 16, map_types.NO_PREALLOC, name=b"insp_map"))
    return fd, inspect.read_map(fd).id


@pytest.fixture
def program(keep, table):
    """A raw tracepoint's program that refers to the map and calls helpers: descriptor and id."""
    code = insn(0x85, imm=5) + insn(0x18, 1, 1, 0, table[0]) + insn(0) + insn(0x85, imm=8) + constant(0)
    fd, _ = syscall.prog_load(prog_types.number("raw_tracepoint"), code, "GPL", name=b"insp_prog")
    keep(fd)
    return fd, inspect.read_program(fd).id


def loaded(keep, kind, attach="", **more):
    return keep(Loader().open(kind, attach, **more)[0])


def linked(keep, prog, target, attach, extra=b"", flags=0):
    """The information of a link."""
    fd = keep(syscall.link_create(prog, target, attach_types.number(attach), flags, extra))
    info = inspect.link_info(inspect.read_link(fd).id)
    assert info.prog_id == inspect.read_program(prog).id
    return info


# -- objects -----------------------------------------------------------------------------------------------------------


def test_a_program(program, table):
    fd, number = program
    info = inspect.program_info(number)
    assert (info.id, info.name, info.kind, info.type_number) == (number, "insp_prog", "raw_tracepoint", 17)
    assert info.map_ids == [table[1]]
    assert info.gpl and info.created_by_uid == os.geteuid() and info.functions == 1
    assert info.xlated_size >= 48 and info.jited_size > 0 and info.memory > 0 and info.verified_insns >= 5
    assert abs(info.loaded_at - time.time()) < 60
    assert len(info.tag) == 16 and int(info.tag, 16)
    assert info.btf_id == info.attach_btf_id == 0 and inspect.attach_target(info) == ""
    listed = [one for one in inspect.programs() if one.id == number]
    assert len(listed) == 1 and listed[0].plain()["name"] == "insp_prog"
    assert inspect.read_program(fd).id == number


def test_a_program_as_another_tool_sees_it(program):
    if not os.path.exists(BPFTOOL):
        pytest.skip("bpftool is not installed")
    number = program[1]
    shown = json.loads(
        subprocess.run([BPFTOOL, "-j", "prog", "show", "id", str(number)], capture_output=True, check=True).stdout
    )
    info = inspect.program_info(number)
    assert (info.kind, info.name, info.tag) == (shown["type"], shown["name"], shown["tag"])
    assert (info.xlated_size, info.jited_size) == (shown["bytes_xlated"], shown["bytes_jited"])
    assert (info.memory, info.map_ids, info.gpl) == (shown["bytes_memlock"], shown["map_ids"], shown["gpl_compatible"])
    assert abs(info.loaded_at - shown["loaded_at"]) < 5
    assert len(inspect.jited(number)) == shown["bytes_jited"]
    with tempfile.NamedTemporaryFile() as file:
        dump = [BPFTOOL, "prog", "dump", "xlated", "id", str(number), "file", file.name]
        subprocess.run(dump, check=True, capture_output=True)
        with open(file.name, "rb") as written:
            assert written.read() == inspect.xlated(number)


def test_a_map(table, keep):
    fd, number = table
    info = inspect.map_info(number)
    assert (info.kind, info.name, info.key_size, info.value_size, info.max_entries) == ("hash", "insp_map", 4, 8, 16)
    assert info.flags == map_types.NO_PREALLOC and info.memory > 0 and not info.frozen
    syscall.map_freeze(fd)
    assert inspect.map_info(number).frozen
    assert [one.name for one in inspect.maps() if one.id == number] == ["insp_map"]
    assert info.plain()["max_entries"] == 16 and info.plain()["kind"] == "hash"


def test_live_objects_and_ids_are_both_taken(program):
    class Live:
        def fileno(self):
            return program[0]

    assert inspect.program_info(Live()).id == program[1]
    assert inspect.xlated(Live()) == inspect.xlated(program[1]) != b""


@pytest.mark.parametrize("number", [0, -1, 1 << 31, 1 << 40])
@pytest.mark.parametrize(
    "ask", [inspect.program_info, inspect.map_info, inspect.link_info, inspect.btf_info, inspect.xlated, inspect.jited]
)
def test_ids_that_nothing_has(ask, number):
    with pytest.raises(LoadError) as refused:
        ask(number)
    assert refused.value.code == "KRN030" and str(number) in refused.value.message


def test_descriptors_of_something_else(program, table):
    with tempfile.TemporaryFile() as file:
        for read in (inspect.read_program, inspect.read_map, inspect.read_link, inspect.read_btf):
            with pytest.raises(LoadError) as refused:
                read(file.fileno())
            assert refused.value.code == "KRN033"


def test_what_went_away_is_left_out(program):
    fd, _ = syscall.prog_load(1, constant(0), "GPL", name=b"insp_gone")
    number = inspect.read_program(fd).id
    os.close(fd)
    deadline = time.monotonic() + 5
    while number in [info.id for info in inspect.programs()]:  # freed after a grace period
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- type information --------------------------------------------------------------------------------------------------


@pytest.fixture
def typed(keep):
    """A program of two functions with names and lines: descriptor, id."""
    builder = BtfBuilder()
    proto = builder.add(btf.FuncProto(builder.add(btf.Int("int", 4, btf.INT_SIGNED))))
    ids = [builder.add(btf.Func(name, proto, linkage)) for name, linkage in (("main_one", 1), ("helper_one", 0))]
    name, first, second = (builder.string(text) for text in ("prog.py", "return help()", "return 7"))
    blob = keep(syscall.btf_load(builder.to_bytes()))
    code = insn(0x85, 0, 1, 0, 1) + EXIT + constant(7)
    lines = pack("=IIII", 0, name, first, 3 << 10 | 5) + pack("=IIII", 2, name, second, 9 << 10 | 1)
    fd, _ = syscall.prog_load(
        1, code, "GPL", name=b"insp_typed", btf_fd=blob, func_info=pack("=IIII", 0, ids[0], 2, ids[1]), line_info=lines
    )
    keep(fd)
    return fd, inspect.read_program(fd).id, inspect.read_btf(blob).id


def test_functions_and_source_lines(typed):
    _, number, blob = typed
    info = inspect.program_info(number)
    assert info.btf_id == blob and info.functions == 2
    functions = inspect.functions(number)
    assert [name for _, name in functions] == ["main_one", "helper_one"] and functions[0][0] == 0
    lines = inspect.source_lines(number)
    assert [(line.file, line.text, line.line, line.column) for line in lines] == [
        ("prog.py", "return help()", 3, 5),
        ("prog.py", "return 7", 9, 1),
    ]
    assert lines[1].insn == functions[1][0] >= 2


def test_machine_code_by_function(typed, program):
    symbols = inspect.jited_symbols(typed[1])
    code = inspect.jited(typed[1])
    assert len(symbols) == 2 and sum(size for _, size in symbols) == len(code) > 0
    assert all(address for address, _ in symbols) or not _addresses_shown()
    assert len(inspect.jited_symbols(program[1])) == 1
    assert inspect.functions(program[1]) == [] and inspect.source_lines(program[1]) == []


def _addresses_shown():
    with open("/proc/kallsyms") as file:
        return int(file.readline().split()[0], 16) != 0


def test_type_information_by_id(typed):
    blob = typed[2]
    info = inspect.btf_info(blob)
    assert (info.id, info.kernel, info.name) == (blob, False, "") and info.size == len(inspect.btf_data(blob))
    assert inspect.type_name(blob, 3) == "main_one"
    assert blob in [one.id for one in inspect.btf_objects()]
    kernel = [one for one in inspect.btf_objects() if one.kernel and one.name == "vmlinux"]
    assert len(kernel) == 1 and kernel[0].size > 1_000_000


def test_the_function_to_extend(typed):
    class Live:
        name = "main_one"

        def fileno(self):
            return typed[0]

    assert inspect.function_type(Live(), "helper_one") == inspect.function_type(Live(), "") + 1
    with pytest.raises(LoadError) as refused:
        inspect.function_type(Live(), "no_such")
    assert refused.value.code == "KRN021"


def test_what_a_program_calls_and_refers_to(program, table):
    code = inspect.xlated(program[1])
    wide = code.index(b"\x18")
    assert int.from_bytes(code[wide + 4 : wide + 8], sys.byteorder) == table[1]
    if _addresses_shown():
        called = inspect.called_functions(code)
        assert called[0] == "bpf_ktime_get_ns"
    assert inspect.called_functions(constant(0)) == {}


def test_targets_of_typed_programs(keep):
    for attach, name in (("trace_iter", "bpf_iter_task"), ("trace_raw_tp", "btf_trace_sched_switch")):
        fd = loaded(keep, "tracing", attach)
        assert inspect.attach_target(inspect.program_info(inspect.read_program(fd).id)) == name


# -- links -------------------------------------------------------------------------------------------------------------


def test_raw_tracepoints(program, keep):
    link = keep(syscall.raw_tracepoint_open(program[0], "sched_process_exit", 77))
    info = inspect.link_info(inspect.read_link(link).id)
    assert (info.kind, info.target, info.prog_id) == ("raw_tracepoint", "sched_process_exit", program[1])
    assert info.details.get("cookie") == 77
    assert info.id in [one.id for one in inspect.links()]
    plain = info.plain()
    assert plain["target"] == "sched_process_exit" and plain["details"] == {"cookie": 77}
    assert json.loads(json.dumps(plain)) == plain
    assert "sched_process_exit" in repr(info)


def test_typed_tracepoints(keep):
    fd = loaded(keep, "tracing", "trace_raw_tp", target="btf_trace_sched_process_exit")
    link = keep(syscall.raw_tracepoint_open(fd, None))
    info = inspect.link_info(inspect.read_link(link).id)
    assert info.kind in ("raw_tracepoint", "tracing") and "sched_process_exit" in info.target


def test_tracepoints_and_other_perf_events(keep):
    from osmia.kernel import tracefs

    number = tracefs.tracepoint_id("sched", "sched_process_exit")
    event = keep(syscall.perf_event_open(syscall.perf_attr(2, number, period=1), os.getpid(), -1))
    info = linked(keep, loaded(keep, "tracepoint"), event, "perf_event", pack("=Q", 9))
    assert (info.kind, info.attach_type, info.target) == ("perf_event", "tracepoint", "sched_process_exit")
    assert info.details["cookie"] == 9
    event = keep(syscall.perf_event_open(syscall.perf_attr(1, 3, period=1 << 30), os.getpid(), -1))
    info = linked(keep, loaded(keep, "perf_event"), event, "perf_event")
    assert (info.attach_type, info.target) == ("perf_event", "context-switches")
    assert info.details == {"type": 1, "config": 3}


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ((0, 0), "cpu-cycles"),
        ((0, 5), "branch-misses"),
        ((1, 0), "cpu-clock"),
        ((3, 0), "L1-dcache-loads"),
        ((3, 1 << 16 | 1 << 8 | 2), "LLC-store-misses"),
        ((3, 2 << 8), "L1-dcache-prefetches"),
        ((3, 99), "event 3:0x63"),
        ((4, 0x1C2), "event 4:0x1c2"),
        ((1, 99), "event 1:0x63"),
    ],
)
def test_names_of_events(event, name):
    assert event_name(*event) == name


def _uprobe_type():
    try:
        with open("/sys/bus/event_source/devices/uprobe/type") as file:
            return int(file.read())
    except OSError:
        pytest.skip("the kernel has no uprobes")


@pytest.mark.parametrize(("config", "kind"), [(0, "uprobe"), (1, "uretprobe")])
def test_user_probes(keep, tmp_path, config, kind):
    path = tmp_path / "binary"
    shutil.copy("/bin/true", path)
    name = bytearray(str(path).encode() + b"\0")
    attr = syscall.perf_attr(_uprobe_type(), config, config1=syscall.address(name), config2=0x1000)
    event = keep(syscall.perf_event_open(attr, os.getpid(), -1))
    info = linked(keep, loaded(keep, "kprobe"), event, "perf_event")
    assert (info.attach_type, info.target) == (kind, f"{path}+0x1000")


def test_many_user_probes(keep, tmp_path):
    path = tmp_path / "binary"
    shutil.copy("/bin/true", path)
    name, offsets = bytearray(str(path).encode() + b"\0"), bytearray(pack("=QQ", 0x1000, 0x1010))
    extra = pack("=QQQQIII", syscall.address(name), syscall.address(offsets), 0, 0, 2, 1, os.getpid())
    prog = loaded(keep, "kprobe", "trace_uprobe_multi")
    try:
        info = linked(keep, prog, 0, "trace_uprobe_multi", extra)
    except OSError as error:
        pytest.skip(f"uprobe_multi: {error}")
    assert info.kind == "uprobe_multi" and info.details["offsets"] == [0x1000, 0x1010]
    assert info.target == f"{path}+0x1000,0x1010 (return) of process {os.getpid()}"


def test_iterators(keep, table):
    info = linked(keep, loaded(keep, "tracing", "trace_iter"), 0, "trace_iter")
    assert (info.kind, info.target) == ("iter", "task")
    over_map = loaded(keep, "tracing", "trace_iter", target="bpf_iter_bpf_map_elem")
    wanted = bytearray(pack("=IIII", table[0], 0, 0, 0))
    info = linked(keep, over_map, 0, "trace_iter", pack("=QI", syscall.address(wanted), len(wanted)))
    assert info.target == f"bpf_map_elem of map insp_map (id {table[1]})"
    one_task = loaded(keep, "tracing", "trace_iter")
    wanted = bytearray(pack("=IIII", 0, os.getpid(), 0, 0))
    info = linked(keep, one_task, 0, "trace_iter", pack("=QI", syscall.address(wanted), len(wanted)))
    assert info.target.startswith("task of process ") and info.details["pid"] > 0


def test_cgroups(keep, cgroup):
    folder = keep(os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY))
    prog = loaded(keep, "cgroup_skb", "cgroup_inet_ingress")
    info = linked(keep, prog, folder, "cgroup_inet_ingress")
    assert (info.kind, info.attach_type) == ("cgroup", "cgroup_inet_ingress")
    assert info.details["cgroup_id"] == os.stat(cgroup).st_ino
    assert info.target == f"cgroup /{os.path.basename(cgroup)}"
    root = next(place for place in mounts_of("cgroup2") if cgroup.startswith(place))
    assert cgroup_name(os.stat(root).st_ino) == "cgroup /"
    assert cgroup_name(1 << 50) == f"cgroup {1 << 50}"


def test_a_detached_link_says_so(keep, cgroup):
    folder = keep(os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY))
    prog = loaded(keep, "cgroup_skb", "cgroup_inet_ingress")
    link = keep(syscall.link_create(prog, folder, attach_types.number("cgroup_inet_ingress")))
    syscall.link_detach(link)
    assert inspect.read_link(link).target == "(detached)"


def test_devices_and_their_namespaces(keep, netns):
    with netns.inside():
        index = socket.if_nametoindex("near")
        xdp = linked(keep, loaded(keep, "xdp", "xdp"), index, "xdp", flags=2)
        tcx = linked(keep, loaded(keep, "sched_cls", "tcx_ingress"), index, "tcx_ingress")
        assert (xdp.kind, xdp.target, tcx.kind, tcx.target) == ("xdp", "near", "tcx", "near")
        assert tcx.attach_type == "tcx_ingress" and xdp.details == {"ifindex": index}
        space = keep(os.open("/proc/thread-self/ns/net", os.O_RDONLY))
        lookup = linked(keep, loaded(keep, "sk_lookup", "sk_lookup"), space, "sk_lookup")
        assert (lookup.kind, lookup.attach_type, lookup.target) == ("netns", "sk_lookup", "this network namespace")
        filtered = linked(keep, loaded(keep, "netfilter", "netfilter"), 0, "netfilter", pack("=IIiI", 2, 3, 100, 0))
        assert filtered.target == "ipv4 output, priority 100"
    for info in (xdp, tcx):
        assert inspect.link_info(info.id).target == f"device {index} of another network namespace"
    assert inspect.link_info(lookup.id).target == f"network namespace {netns.name}"


def test_a_link_that_loses_its_device(keep, netns):
    with netns.inside():
        index = socket.if_nametoindex("near")
        info = linked(keep, loaded(keep, "xdp", "xdp"), index, "xdp", flags=2)
    netns.run("ip", "link", "del", "near")
    assert inspect.link_info(info.id).target == "(detached)"


def test_socket_maps(keep):
    sockets = keep(syscall.map_create(map_types.number("sockmap"), 4, 4, 1, name=b"insp_sockets"))
    prog = loaded(keep, "sk_msg", "sk_msg_verdict")
    try:
        info = linked(keep, prog, sockets, "sk_msg_verdict")
    except OSError as error:
        pytest.skip(f"links to socket maps: {error}")
    number = inspect.read_map(sockets).id
    assert (info.kind, info.target) == ("sockmap", f"map insp_sockets (id {number})")


# -- statistics, owners, pins ------------------------------------------------------------------------------------------


def test_statistics_of_a_span(program):
    fd, number = program

    def busy(seconds):
        assert seconds == 0.5
        for _ in range(40):
            syscall.prog_test_run(fd)

    found = {row.program.id: row for row in inspect.stats(0.5, busy)}
    row = found[number]
    assert row.runs == 40 and row.time_ns > 0 and 0 < row.seconds < 30
    assert row.mean_ns == pytest.approx(row.time_ns / 40) and row.cpu == pytest.approx(row.time_ns / 1e9 / row.seconds)
    assert inspect.program_info(number).run_count == 40
    again = {row.program.id: row for row in inspect.stats(0.01)}[number]
    assert (again.runs, again.time_ns, again.mean_ns) == (0, 0, 0.0)


def test_statistics_are_kept_inside_the_block_only(program):
    with open("/proc/sys/kernel/bpf_stats_enabled") as file:
        if file.read().strip() != "0":
            pytest.skip("statistics are always on here")
    fd, number = program
    with inspect.statistics() as kept:
        syscall.prog_test_run(fd)
        kept.close()
        kept.close()
    assert inspect.program_info(number).run_count == 1


def test_programs_that_come_and_go_meanwhile(program, keep):
    fd, _ = syscall.prog_load(17, constant(0), "GPL", name=b"insp_leaves")
    leaving = inspect.read_program(fd).id

    def change(_):
        os.close(fd)
        coming = keep(syscall.prog_load(17, constant(0), "GPL", name=b"insp_comes")[0])
        syscall.prog_test_run(coming)
        while leaving in [info.id for info in inspect.programs()]:
            time.sleep(0.01)

    rows = {row.program.name: row for row in inspect.stats(1, change)}
    assert "insp_leaves" not in rows and rows["insp_comes"].runs == 1


def test_owners(program, table, keep, typed):
    link = keep(syscall.raw_tracepoint_open(program[0], "sched_process_exit"))
    number = inspect.read_link(link).id
    found = inspect.owners()
    with open("/proc/self/comm") as file:
        me = (os.getpid(), file.read().strip())
    for key in (("program", program[1]), ("map", table[1]), ("link", number), ("btf", typed[2])):
        assert found[key] == [me], key


def test_who_holds_a_link_holds_its_program(keep):
    fd, _ = syscall.prog_load(17, constant(0), "GPL", name=b"insp_linked")
    number = inspect.read_program(fd).id
    keep(syscall.raw_tracepoint_open(fd, "sched_process_exit"))
    os.close(fd)
    assert [pid for pid, _ in inspect.owners()["program", number]] == [os.getpid()]


def test_a_child_is_an_owner_too(program):
    child = subprocess.Popen(["sleep", "30"], pass_fds=[program[0]])
    try:
        deadline = time.monotonic() + 5
        while (child.pid, "sleep") not in inspect.owners()["program", program[1]]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        child.kill()
        child.wait()
    assert [pid for pid, _ in inspect.owners()["program", program[1]]] == [os.getpid()]


def test_pins(program, table, bpffs):
    syscall.obj_pin(program[0], f"{bpffs}/program")
    syscall.obj_pin(table[0], f"{bpffs}/map")
    os.mkdir(f"{bpffs}/folder")
    syscall.obj_pin(table[0], f"{bpffs}/folder/again")
    found = inspect.pinned()
    assert found["program", program[1]] == [f"{bpffs}/program"]
    assert sorted(found["map", table[1]]) == [f"{bpffs}/folder/again", f"{bpffs}/map"]
    os.unlink(f"{bpffs}/program")
    assert ("program", program[1]) not in inspect.pinned()


# -- without rights ----------------------------------------------------------------------------------------------------

REFUSED = """
import sys
from osmia.diagnostics import PermissionMissing
from osmia.kernel import inspect
for ask in (inspect.programs, inspect.maps, inspect.links, inspect.btf_objects):
    try:
        list(ask())
    except PermissionMissing as error:
        assert error.code == "KRN001" and "CAP_SYS_ADMIN" in error.message and "cannot list" in error.message, error
    else:
        raise SystemExit(f"{ask} was not refused")
for ask in (inspect.program_info, inspect.xlated, inspect.map_info, inspect.link_info):
    try:
        ask(1)
    except PermissionMissing as error:
        assert error.code == "KRN001" and error.hint
    else:
        raise SystemExit(f"{ask} was not refused")
try:
    inspect.stats(0)
except PermissionMissing as error:
    assert "statistics" in error.message
else:
    raise SystemExit("statistics were not refused")
inspect.owners(), inspect.pinned()
print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_without_rights():
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", REFUSED]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "refused\n", done.stderr
