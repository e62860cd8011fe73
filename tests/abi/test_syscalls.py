from __future__ import annotations

import os
import pathlib
import platform
import re

import pytest

from osmia.abi import syscalls, tracepoints
from osmia.diagnostics import UsageError


def test_lookup_by_name_entry_function_and_number():
    row = syscalls.syscall("openat", "x86_64")
    assert (row.number, row.machine) == (257, "x86_64")
    assert [name for name, _ in row.args] == ["dfd", "filename", "flags", "mode"]
    assert row.args[1][1] == "const char *"
    assert syscalls.syscall(257, "x86_64") is row
    assert syscalls.syscall("sys_openat", "x86_64") is row
    stat = syscalls.syscall("stat", "x86_64")
    assert syscalls.syscall("newstat", "x86_64") is stat
    assert stat.tracepoints == ("syscalls:sys_enter_newstat", "syscalls:sys_exit_newstat")


def test_machines_differ():
    assert syscalls.syscall("openat", "aarch64").number == 56
    with pytest.raises(UsageError) as refused:
        syscalls.syscall("open", "aarch64")
    assert refused.value.code == "ABI009"
    assert "openat" in refused.value.hint
    x86, arm = syscalls.syscall("clone", "x86_64"), syscalls.syscall("clone", "aarch64")
    assert [name for name, _ in x86.args][3:] == ["child_tidptr", "tls"]
    assert [name for name, _ in arm.args][3:] == ["tls", "child_tidptr"]
    for name, number in syscalls.numbers("aarch64").items():
        if number >= 424 and name in syscalls.numbers("x86_64"):
            assert syscalls.numbers("x86_64")[name] == number


def test_unknown_calls_and_machines_are_refused():
    for key in ("opennat", 9999, -1):
        with pytest.raises(UsageError) as refused:
            syscalls.syscall(key, "x86_64")
        assert refused.value.code == "ABI009"
    with pytest.raises(UsageError) as refused:
        syscalls.numbers("s390x")
    assert refused.value.code == "ABI012"


def test_names_of_numbers():
    assert syscalls.name_of(257, "x86_64") == "openat"
    assert syscalls.name_of(57, "aarch64") == "close"
    assert syscalls.name_of(9999, "x86_64") == ""
    assert syscalls.name_of(1, "s390x") == ""
    if platform.machine() in ("x86_64", "aarch64"):
        assert syscalls.name_of(syscalls.syscall("getpid").number) == "getpid"


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_rows_are_well_formed(machine):
    rows = list(syscalls.syscalls(machine))
    assert len(rows) > 300
    assert [row.number for row in rows] == sorted({row.number for row in rows})
    for row in rows:
        assert len(row.args) <= 6
        for name, ctype in row.args:
            assert re.fullmatch(r"\w+", name), row
            assert "__user" not in ctype
            assert ctype
            assert "  " not in ctype


def test_numbers_are_those_of_the_installed_header():
    for machine, path in HEADERS.items():
        if os.path.exists(path):
            text = pathlib.Path(path).read_text()
            theirs = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", text)}
            ours = syscalls.numbers(machine)
            assert len(theirs) > 300
            unimplemented = {name for name in theirs if name not in ours}
            assert unimplemented <= NEVER, unimplemented - NEVER
            for name, number in theirs.items():
                if name in ours:
                    assert ours[name] == number
            return
    pytest.skip("no exported header with the numbers is installed")


HEADERS = {"x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"}
# Numbers without an entry function.
NEVER = {
    "uselib", "_sysctl", "create_module", "get_kernel_syms", "query_module", "nfsservctl", "getpmsg", "putpmsg",
    "afs_syscall",
    "tuxcall", "security", "vserver", "epoll_ctl_old", "epoll_wait_old", "set_thread_area", "get_thread_area",
    "lookup_dcookie", "syscalls",
}  # fmt: skip


def test_the_c_library_calls_the_same_numbers():
    import ctypes

    libc = ctypes.CDLL(None)
    machine = platform.machine()
    assert libc.syscall(syscalls.syscall("getpid", machine).number) == os.getpid()
    assert libc.syscall(syscalls.syscall("getppid", machine).number) == os.getppid()
    assert libc.syscall(syscalls.syscall("getuid", machine).number) == os.getuid()


@pytest.fixture(scope="module")
def events():
    from tracefs import mounted

    try:
        with mounted() as root:
            if not (root / "events").is_dir():
                pytest.skip("this kernel has no trace events")
            yield root
    except OSError as error:
        pytest.skip(f"tracefs cannot be mounted: {error}")


@pytest.mark.kernel
def test_arguments_are_those_of_the_kernels_tracepoints(events, probed_kernel):
    from make_syscalls import tidy
    from tracefs import fields

    if platform.machine() != "x86_64":
        pytest.skip("the table quotes x86-64")
    compared = 0
    for row in syscalls.syscalls("x86_64"):
        path = events / "events/syscalls" / f"sys_enter_{row.entry}" / "format"
        if path.exists():
            args = [(name, tidy(ctype)) for ctype, name, *_ in fields(path.read_text()) if name != "__syscall_nr"]
            assert list(row.args) == args, row
            compared += 1
    assert compared > 300


@pytest.mark.kernel
def test_every_traced_call_has_a_row(events, probed_kernel):
    if platform.machine() != "x86_64":
        pytest.skip("the table quotes x86-64")
    ours = {row.entry for row in syscalls.syscalls("x86_64")}
    theirs = {path.name.removeprefix("sys_enter_") for path in (events / "events/syscalls").glob("sys_enter_*")}
    assert theirs
    assert theirs - ours == set()


def test_record_structs():
    assert tracepoints.record_struct("sched", "sched_switch") == "trace_event_raw_sched_switch"
    assert tracepoints.record_struct("sched", "sched_wakeup_new") == "trace_event_raw_sched_wakeup_template"
    assert tracepoints.record_struct("syscalls", "sys_enter_openat") == "trace_event_raw_sys_enter"
    assert tracepoints.record_struct("syscalls", "sys_exit_openat") == "trace_event_raw_sys_exit"
    assert tracepoints.record_struct("mine", "own_event") == "trace_event_raw_own_event"


@pytest.mark.kernel
def test_every_event_of_the_kernel_has_the_fields_of_its_struct(events, btf, probed_kernel):
    from make_tracepoints import event_shapes, same, struct_shapes

    shapes = struct_shapes(btf)
    found = event_shapes(events)
    assert len(found) > 500
    for event, shape in found.items():
        name = tracepoints.record_class(*event.split(":"))
        assert name in shapes, event
        assert same(shape, shapes[name]), (event, name)
