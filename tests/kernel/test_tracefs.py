"""Tracepoints as tracefs describes them."""

import errno
import os
import subprocess
import sys

import pytest

from osmia.diagnostics import AttachError
from osmia.kernel import cpu, syscall, tracefs
from osmia.kernel.tracefs import TracepointField

FORMAT = """name: sched_process_exec
ID: 350
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:__data_loc char[] filename;	offset:8;	size:4;	signed:0;
	field:const char * name;	offset:16;	size:8;	signed:0;
	field:char comm[16];	offset:24;	size:16;	signed:0;
	field:u32 table[2][3];	offset:40;	size:24;	signed:0;
	field:unsigned long long args[6];	offset:64;	size:48;	signed:0;
	field:__rel_loc u8[] data;	offset:112;	size:4;	signed:0;

print fmt: "filename=%s", __get_str(filename)
"""


def test_format_files():
    assert tracefs.parse_format(FORMAT) == [
        TracepointField("common_type", "unsigned short", 0, 2, False),
        TracepointField("common_pid", "int", 4, 4, True),
        TracepointField("filename", "__data_loc char[]", 8, 4, False),
        TracepointField("name", "const char *", 16, 8, False),
        TracepointField("comm", "char[16]", 24, 16, False),
        TracepointField("table", "u32[2][3]", 40, 24, False),
        TracepointField("args", "unsigned long long[6]", 64, 48, False),
        TracepointField("data", "__rel_loc u8[]", 112, 4, False),
    ]


@pytest.mark.parametrize("target", ["sched:sched_switch", "sched/sched_switch"])
def test_targets(target):
    assert tracefs.split(target) == ("sched", "sched_switch")


@pytest.mark.parametrize("target", ["", "sched", "sched:", ":x", "a:b:c", "a/b/c", "../../x:id", "..:x", "x:.."])
def test_targets_that_are_none(target):
    with pytest.raises(AttachError) as caught:
        tracefs.split(target)
        raise AssertionError(target)
    assert caught.value.code == "HOOK006"


@pytest.mark.kernel
def test_ids_formats_and_lists():
    assert tracefs.tracepoint_id("sched", "sched_switch") > 0
    fields = {field.name: field for field in tracefs.tracepoint_format("sched", "sched_switch")}
    assert fields["prev_comm"].ctype == "char[16]" and fields["next_pid"].size == 4 and fields["next_pid"].signed
    names = tracefs.tracepoints()
    assert len(names) > 100 and names == sorted(names) and "sched:sched_switch" in names
    assert tracefs.tracepoints("syscalls:sys_enter_open*") == sorted(
        name for name in names if name.startswith("syscalls:sys_enter_open")
    )
    assert tracefs.tracepoints("syscalls/sys_enter_openat") == ["syscalls:sys_enter_openat"]
    assert tracefs.tracepoints("nothing:*") == []


@pytest.mark.kernel
@pytest.mark.parametrize(
    "category, event, near",
    [
        ("sched", "sched_swich", "sched:sched_switch"),
        ("syscall", "sys_enter_openat", "syscalls:sys_enter_openat"),
        ("task", "sched_process_exec", "sched:sched_process_exec"),
    ],
)
def test_suggestions(category, event, near):
    for ask in (tracefs.tracepoint_id, tracefs.tracepoint_format):
        with pytest.raises(AttachError) as caught:
            ask(category, event)
        assert caught.value.code == "HOOK002" and near in caught.value.hint and caught.value.errno == errno.ENOENT


@pytest.mark.kernel
def test_no_mount_is_left_behind():
    with open("/proc/mounts") as file:
        before = file.read()
    tracefs.close()
    tracefs.tracepoint_id("sched", "sched_switch")
    with open("/proc/mounts") as file:
        assert file.read() == before
    tracefs.close()


@pytest.mark.kernel
def test_a_mounted_tracefs_is_used(tmp_path, monkeypatch):
    place = tmp_path / "tracing"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tracefs", "tracefs", str(place)], check=False).returncode:
        pytest.skip("tracefs cannot be mounted here")
    try:
        tracefs.close()
        monkeypatch.setattr(tracefs, "MOUNT_POINTS", ("/nonexistent", str(tmp_path), str(place)))
        monkeypatch.setattr(syscall, "detached_mount", lambda kind: pytest.fail("mounted is enough"))
        assert tracefs.tracepoint_id("sched", "sched_switch") > 0
        assert os.readlink(f"/proc/self/fd/{tracefs.root()}") == str(place)
    finally:
        tracefs.close()
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.mark.parametrize(
    "number, word", [(errno.EPERM, "root"), (errno.ENODEV, "CONFIG_TRACING"), (errno.ENOSYS, "mount")]
)
def test_without_tracefs(monkeypatch, number, word):
    def refuse(kind):
        raise OSError(number, os.strerror(number))

    tracefs.close()
    monkeypatch.setattr(tracefs, "MOUNT_POINTS", ())
    monkeypatch.setattr(syscall, "detached_mount", refuse)
    for action in (lambda: tracefs.tracepoint_id("a", "b"), tracefs.tracepoints):
        with pytest.raises(AttachError) as caught:
            action()
        assert caught.value.code == "HOOK003" and word in caught.value.hint and caught.value.errno == number


def test_lists_of_cpus():
    assert cpu.parse_list("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert cpu.parse_list("0") == [0] and cpu.parse_list("") == []
    assert cpu.possible_count() >= len(cpu.online()) >= 1


def test_object_names():
    assert syscall.object_name("short") == b"short"
    assert syscall.object_name("a-name with ümlaut.x") == b"a_name_with__ml"


def test_an_unknown_machine_is_not_called():
    code = (
        "import os\n"
        "real = os.uname()\n"
        "os.uname = lambda: os.uname_result((real.sysname, real.nodename, real.release, real.version, 'pdp11'))\n"
        "from osmia.kernel import syscall\n"
        "try: syscall.map_create(1, 4, 4, 1)\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.ENOSYS
