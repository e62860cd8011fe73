"""Tracepoints of all kinds and iterators, on system calls of this process."""

import os
import subprocess
import sys
import time

import pytest

from osmia.diagnostics import AttachError, LoadError, PermissionMissing, UnsupportedFeature
from osmia.kernel import inspect, release
from osmia.kernel.attach import attach
from osmia.kernel.attach.link import BpfLink, LinkGroup, PerfLink
from osmia.object.layout import U32, U64
from osmia.object.spec import Hook, MapSpec

pytestmark = pytest.mark.kernel
GETPPID = Hook("tracepoint", "syscalls:sys_enter_getppid")


def call(times):
    for _ in range(times):
        os.getppid()


def test_tracepoint(kit):
    program, count = kit.counting("tracepoint", hook=GETPPID)
    call(3)
    with attach(program) as link:
        assert isinstance(link, BpfLink) and link.attached
        call(5)
        assert count[0] == 5
        info = link.info()
        assert info.prog_id == program.id and info.kind == "perf_event" and "sys_enter_getppid" in info.target
    assert not link.attached
    call(3)
    assert count[0] == 5
    link.close()


def test_one_program_on_several_tracepoints(kit):
    program, count = kit.counting("tracepoint")
    both = Hook("tracepoint", "", {"targets": ("syscalls:sys_enter_getppid", "syscalls/sys_exit_getppid")})
    with attach(program, both) as link:
        assert isinstance(link, LinkGroup) and len(link) == 2
        call(4)
        assert count[0] == 8
    with attach(program, Hook("tracepoint", "syscalls:sys_e*_getppid")) as link:
        assert len(link) == 2
        call(1)
        assert count[0] == 10
    call(1)
    assert count[0] == 10


def test_when_one_of_several_fails_nothing_stays(kit):
    program, count = kit.counting("tracepoint")
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("tracepoint", "", {"targets": ("syscalls:sys_enter_getppid", "syscalls:sys_enter_nope")}))
    assert caught.value.code == "HOOK002"
    call(2)
    assert count[0] == 0


@pytest.mark.parametrize(
    "target, code",
    [
        ("sched:sched_swich", "HOOK002"),
        ("nope:*", "HOOK002"),
        ("sched_switch", "HOOK006"),
        ("", "HOOK006"),
        ("a:b:c", "HOOK006"),
    ],
)
def test_tracepoints_that_do_not_exist(kit, target, code):
    program, _ = kit.counting("tracepoint")
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("tracepoint", target))
    assert caught.value.code == code
    if target == "sched:sched_swich":
        assert "sched:sched_switch" in caught.value.hint


def test_programs_of_other_types_are_refused(kit):
    program, _ = kit.counting("raw_tracepoint")
    with pytest.raises(LoadError) as caught:
        attach(program, GETPPID)
    assert caught.value.code == "HOOK015" and "raw_tracepoint" in caught.value.message


def test_kinds_of_hooks_that_do_not_exist(kit):
    program, _ = kit.counting("tracepoint")
    for hook, words in ((Hook("tracepiont", "a:b"), "tracepoint"), (Hook("syscall"), ""), (Hook("func"), "")):
        with pytest.raises(AttachError) as caught:
            attach(program, hook)
        assert caught.value.code == "HOOK001" and words in (caught.value.hint or "")


def test_cookies(kit):
    text = """
        r6 = r1
        call get_current_pid_tgid
        r0 >>= 32
        if r0 != PID goto out
        r1 = r6
        call get_attach_cookie
        *(u64 *)(r10 - 16) = r0
        *(u32 *)(r10 - 4) = 0
        r1 = map[count] ll
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call map_update_elem
    out:
        r0 = 0
        exit
    """.replace("PID", str(kit.pid))
    for kind, hook in (("tracepoint", GETPPID), ("raw_tracepoint", Hook("raw_tracepoint", "sys_enter"))):
        loaded = kit.load(kit.spec("cookie", kind, text, maps=[kit.counter()]))
        with attach(loaded.programs["cookie"], hook, cookie=0xDEADBEEF12345678):
            call(1)
        assert loaded.maps["count"][0] == 0xDEADBEEF12345678


def test_without_links_for_perf_events(kit, monkeypatch):
    program, count = kit.counting("tracepoint")
    monkeypatch.setattr(release, "running", lambda: (5, 10, 0))
    with attach(program, GETPPID) as link:
        assert isinstance(link, PerfLink)
        call(3)
        for action in (link.info, lambda: link.pin("/sys/fs/bpf/x"), lambda: link.update(program)):
            with pytest.raises(AttachError) as caught:
                action()
            assert caught.value.code == "HOOK018"
    call(3)
    assert count[0] == 3
    with pytest.raises(UnsupportedFeature) as caught:
        attach(program, GETPPID, cookie=5)
    assert caught.value.code == "HOOK016" and "5.15" in caught.value.message


@pytest.mark.parametrize("name", ["sys_enter", "raw_syscalls:sys_enter"])
def test_raw_tracepoint(kit, name):
    program, count = kit.counting("raw_tracepoint")
    with attach(program, Hook("raw_tracepoint", name)) as link:
        call(20)
        assert count[0] >= 20 and link.info().target == "sys_enter"
    after = count[0]
    call(5)
    assert count[0] == after


def test_raw_tracepoints_that_do_not_exist(kit):
    program, _ = kit.counting("raw_tracepoint")
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("raw_tracepoint", "sched_swich"))
    assert caught.value.code == "HOOK004" and "sched_switch" in caught.value.hint


def test_btf_tracepoint(kit):
    hook = Hook("btf_tracepoint", "sys_enter")
    program, count = kit.counting("tracing", attach="trace_raw_tp", hook=hook)
    with attach(program) as link:
        call(20)
        assert count[0] >= 20 and link.info().prog_id == program.id
    with attach(program, cookie=7):
        call(1)


TASKS = """
    r6 = r1
    r2 = *(u64 *)(r6 + 8)
    if r2 == 0 goto out
    r1 = *(u64 *)(r6 + 0)
    r1 = *(u64 *)(r1 + 0)
    *(u32 *)(r10 - 4) = 0x78
    r2 = r10
    r2 += -4
    r3 = 1
    call seq_write
out:
    r0 = 0
    exit
"""


def test_iterating_over_tasks(kit):
    hook = Hook("iter", "task")
    loaded = kit.load(kit.spec("tasks", "tracing", TASKS, attach="trace_iter", hook=hook))
    with attach(loaded.programs["tasks"]) as link:
        threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in os.listdir("/proc") if pid.isdigit())
        first = link.text()
        assert set(first) == {"x"} and abs(len(first) - threads) < 50
        assert link.info().target == "task" and len(link.read()) > 1
    with attach(loaded.programs["tasks"], pid=os.getpid()) as link:
        assert link.text() == "x" * len(os.listdir("/proc/self/task"))
    with attach(loaded.programs["tasks"], tid=os.getpid()) as link:
        assert link.text() == "x"
    with pytest.raises(AttachError) as caught:
        attach(loaded.programs["tasks"], pid=1 << 22)
    assert caught.value.code == "HOOK020"


def test_iterating_over_a_map(kit):
    text = """
        r6 = r1
        r2 = *(u64 *)(r6 + 16)
        if r2 == 0 goto out
        r1 = *(u64 *)(r6 + 0)
        r1 = *(u64 *)(r1 + 0)
        r3 = 4
        call seq_write
    out:
        r0 = 0
        exit
    """
    m = kit.map("hash", key=U32, value=U64, max_entries=10)
    m.update({1: 1, 2: 2, 3: 3})
    hook = Hook("iter", "bpf_map_elem", {"map": "numbers"})
    loaded = kit.load(kit.spec("elements", "tracing", text, attach="trace_iter", hook=hook))
    with attach(loaded.programs["elements"], maps={"numbers": m}) as link:
        data = link.read()
        found = {int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)}
        assert found == {1, 2, 3}
    with pytest.raises(AttachError) as caught:
        attach(loaded.programs["elements"])
    assert caught.value.code == "HOOK006"
    with pytest.raises(AttachError) as caught:
        attach(loaded.programs["elements"], Hook("iter", "bpf_map_elem"))
    assert caught.value.code == "HOOK017" and "map=" in caught.value.hint


def test_kprobes_here_or_a_clear_refusal(kit):
    program, count = kit.counting("kprobe")
    hook = Hook("kprobe", "__x64_sys_getppid" if os.uname().machine == "x86_64" else "__arm64_sys_getppid")
    if os.path.exists("/sys/bus/event_source/devices/kprobe/type"):
        with attach(program, hook):
            call(3)
        assert count[0] == 3
    else:
        for kind in ("kprobe", "kretprobe"):
            with pytest.raises(UnsupportedFeature) as caught:
                attach(program, Hook(kind, hook.target))
            assert caught.value.code == "HOOK014" and "CONFIG_KPROBE_EVENTS" in caught.value.message


def test_many_kprobes_here_or_a_clear_refusal(kit):
    program, count = kit.counting("kprobe", attach="trace_kprobe_multi")
    hook = Hook("kprobe", "", {"targets": ("vfs_read", "vfs_write")})
    try:
        with attach(program, hook):
            os.read(os.open("/dev/zero", os.O_RDONLY), 1)
        assert count[0] > 0
    except (UnsupportedFeature, PermissionMissing) as error:
        assert error.code in ("HOOK014", "KRN002") and error.hint


def test_links_end_with_their_process(kit):
    """After SIGKILL neither program nor link is left."""
    code = (
        "import sys, time\n"
        "from osmia.kernel.load import load\n"
        "from osmia.kernel.attach import attach\n"
        "from osmia.object.spec import *\n"
        "spec = CollectionSpec('x')\n"
        "spec.programs['osmia_killed'] = ProgramSpec('osmia_killed', 's', 5,"
        " bytes.fromhex('b7000000000000009500000000000000'), hook=Hook('tracepoint', 'syscalls:sys_enter_getppid'))\n"
        "loaded = load(spec); link = attach(loaded.programs['osmia_killed'])\n"
        "print(loaded.programs['osmia_killed'].id, flush=True); time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    number = int(child.stdout.readline())
    assert any(info.prog_id == number for info in inspect.links())
    child.kill()
    child.wait()
    child.stdout.close()
    for _ in range(100):
        if not any(info.id == number for info in inspect.programs()):
            break
        time.sleep(0.02)
    assert not any(info.id == number for info in inspect.programs())
    assert not any(info.prog_id == number for info in inspect.links())


def test_pinning_a_link_keeps_the_program_attached(kit, bpffs):
    program, count = kit.counting("tracepoint")
    link = attach(program, GETPPID)
    link.pin(f"{bpffs}/link")
    link.close()
    call(2)
    assert count[0] == 2
    os.unlink(f"{bpffs}/link")
    time.sleep(0.05)
    call(2)
    assert count[0] == 2


def test_a_hook_from_the_spec_or_none(kit):
    program, _ = kit.counting("tracepoint", hook=GETPPID)
    attach(program).close()
    program.spec = None
    with pytest.raises(AttachError) as caught:
        attach(program)
    assert caught.value.code == "HOOK006"


def test_attaching_a_closed_program(kit):
    program, _ = kit.counting("tracepoint")
    program.close()
    with pytest.raises(LoadError) as caught:
        attach(program, GETPPID)
    assert caught.value.code == "KRN042"


def test_descriptors_are_given_back(kit):
    program, _ = kit.counting("tracepoint")
    attach(program, GETPPID).close()  # opens tracefs, which stays
    before = len(os.listdir("/proc/self/fd"))
    link = attach(program, GETPPID)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    link.close()
    for hook in (Hook("tracepoint", "a:b"), Hook("raw_tracepoint", "x")):
        with pytest.raises(LoadError):
            attach(program, hook)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_tracepoint_path_imports_little():
    banned = "numpy dataclasses inspect ast typing tokenize asyncio logging subprocess click rich elftools llvmlite"
    code = (
        "import sys\n"
        "from osmia.kernel.load import load\n"
        "from osmia.kernel.attach import attach\n"
        "from osmia.object.spec import *\n"
        "from osmia.object.layout import U32, U64\n"
        "spec = CollectionSpec('x')\n"
        "spec.maps['m'] = MapSpec('m', 'hash', key=U32, value=U64, max_entries=5)\n"
        "spec.maps['r'] = MapSpec('r', 'ringbuf', max_entries=4096)\n"
        "spec.programs['p'] = ProgramSpec('p', 's', 5, bytes.fromhex('b7000000000000009500000000000000'),"
        " hook=Hook('tracepoint', 'syscalls:sys_enter_getppid'))\n"
        "loaded = load(spec); link = attach(loaded.programs['p'])\n"
        "from osmia.kernel.ringbuf import RingReader\n"
        "reader = RingReader(loaded.maps['r']); list(reader.read_tuples(U64)); list(loaded.maps['m'].items())\n"
        f"print(sorted(set({banned!r}.split()) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_maps_of_specs_are_not_needed(kit):
    spec = kit.spec(
        "p", "tracepoint", "r0 = 0\nexit", hook=GETPPID, maps=[MapSpec("m", "hash", key=U32, value=U32, max_entries=1)]
    )
    with attach(kit.load(spec).programs["p"]):
        call(1)
