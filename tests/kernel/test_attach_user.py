"""User probes, on a program made for the test."""

import os
import shutil
import struct
import subprocess

import pytest

from osmia.diagnostics import AttachError, LoadError, SymbolError, UnsupportedFeature
from osmia.kernel import release
from osmia.kernel.attach import attach
from osmia.kernel.attach.link import LinkGroup
from osmia.object.spec import Hook

pytestmark = pytest.mark.kernel
SOURCE = r"""
#include <stdio.h>
__attribute__((section(".probes"))) volatile short semaphore = 0;
__attribute__((noinline)) int twice(int x) { return x * 2; }
__attribute__((noinline)) int thrice(int x) { return x * 3; }
int main(void) {
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        int two = twice(21), three = thrice(5);
        printf("%d %d %d\n", two, three, semaphore);
        fflush(stdout);
    }
    return 0;
}
"""
COOKIE = """
    call get_attach_cookie
    r1 = r0
    r0 = 0
    *(u32 *)(r10 - 4) = 0
    *(u64 *)(r10 - 16) = r1
    r1 = map[count] ll
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call map_update_elem
    r0 = 0
    exit
"""


class Target:
    """A running process of the test's program."""

    def __init__(self, path):
        self.path = path
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    @property
    def pid(self):
        return self.process.pid

    def turn(self, times=1):
        """Calls both functions; the semaphore's value."""
        for _ in range(times):
            self.process.stdin.write("go\n")
            self.process.stdin.flush()
            words = self.process.stdout.readline().split()
            assert words[:2] == ["42", "15"]
        return int(words[2])

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    folder = tmp_path_factory.mktemp("target")
    (folder / "target.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-o", "target", "target.c"], cwd=folder, check=True, capture_output=True, timeout=60)
    return str(folder / "target")


@pytest.fixture
def target(kit, binary):
    return kit.keep(Target(binary))


def place(binary, name):
    """File offset of a symbol."""
    from osmia.symbols.elf import ElfSymbols

    symbols = ElfSymbols.open(binary)
    found = symbols.find(name, objects=name == "semaphore")
    symbols.close()
    return found.offset


def probing(kit, kind="kprobe", **rest):
    return kit.counting(kind, mine=False, **rest)


@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_function_by_name(kit, target, kind):
    program, count = probing(kit)
    with attach(program, Hook(kind, "", {"binary": target.path, "symbol": "twice", "offset": 0, "pid": 0})) as link:
        target.turn(4)
        assert count[0] == 4
        info = link.info()
        assert info.prog_id == program.id and target.path in info.target
    target.turn(2)
    assert count[0] == 4


def test_targets_as_text(kit, target):
    program, count = probing(kit)
    offset = place(target.path, "twice")
    for text in (f"{target.path}:twice", f"{target.path}:{offset:#x}", f"{target.path}:twice+0"):
        before = count[0]
        with attach(program, Hook("uprobe", text)):
            target.turn()
        assert count[0] == before + 1
    for text in ("", "twice", f"{target.path}:", ":twice", f"{target.path}:twice+x"):
        with pytest.raises(AttachError) as caught:
            attach(program, Hook("uprobe", text))
        assert caught.value.code == "HOOK006"


def test_one_process_only(kit, binary, target):
    program, count = probing(kit)
    other = kit.keep(Target(binary))
    with attach(program, Hook("uprobe", f"{binary}:twice"), pid=target.pid):
        target.turn(3)
        other.turn(5)
        assert count[0] == 3
    with pytest.raises(SymbolError):
        attach(program, Hook("uprobe", f"{binary}:twice"), pid=1 << 22)
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("uprobe", "x"), locations=((binary, place(binary, "twice"), 0, 0),), pid=1 << 22)
    assert caught.value.code == "HOOK020"


def test_return_values(kit, target):
    if os.uname().machine != "x86_64":
        pytest.skip("reads an x86 register")
    text = """
        r1 = *(u64 *)(r1 + 80)
        *(u32 *)(r10 - 4) = 0
        *(u64 *)(r10 - 16) = r1
        r1 = map[count] ll
        r2 = r10
        r2 += -4
        r3 = r10
        r3 += -16
        r4 = 0
        call map_update_elem
        r0 = 0
        exit
    """
    loaded = kit.load(kit.spec("ret", "kprobe", text, maps=[kit.counter()]))
    with attach(loaded.programs["ret"], Hook("uretprobe", f"{target.path}:thrice")):
        target.turn()
    assert loaded.maps["count"][0] & 0xFFFFFFFF == 15


def test_usdt_with_its_semaphore(kit, binary, target):
    program, count = probing(kit)
    locations = ((binary, place(binary, "twice"), place(binary, "semaphore"), 0),)
    assert target.turn() == 0
    with attach(program, Hook("usdt", f"{binary}:test:twice"), locations=locations):
        assert target.turn() == 1 and count[0] == 1
    assert target.turn() == 0
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("usdt", f"{binary}:test:twice"))
    assert caught.value.code == "HOOK006"


def test_several_locations_with_cookies(kit, binary, target):
    loaded = kit.load(kit.spec("cookie", "kprobe", COOKIE, maps=[kit.counter()]))
    program, seen = loaded.programs["cookie"], loaded.maps["count"]
    twice, thrice = place(binary, "twice"), place(binary, "thrice")
    with attach(program, Hook("usdt", "x"), locations=((binary, twice, 0, 7), (binary, thrice, 0, 9))) as link:
        assert isinstance(link, LinkGroup)
        target.turn()
        assert seen[0] == 9
    with attach(program, Hook("uprobe", f"{binary}:twice"), cookie=1234):
        target.turn()
    assert seen[0] == 1234


@pytest.mark.parametrize("kind", ["uprobe", "uretprobe"])
def test_many_places_with_one_link(kit, binary, target, kind):
    if not release.has((6, 6)):
        pytest.skip("needs Linux 6.6")
    program, count = probing(kit, attach="trace_uprobe_multi")
    places = ((binary, place(binary, "twice"), place(binary, "semaphore"), 5), (binary, place(binary, "thrice"), 0, 6))
    with attach(program, Hook(kind, "x"), locations=places) as link:
        assert not isinstance(link, LinkGroup)
        assert target.turn(3) == 1 and count[0] == 6
        assert link.info().kind == "uprobe_multi"
    with attach(program, Hook(kind, f"{binary}:thrice"), pid=target.pid):
        target.turn()
    assert count[0] == 7
    loaded = kit.load(kit.spec("cookie", "kprobe", COOKIE, maps=[kit.counter()], attach="trace_uprobe_multi"))
    with attach(loaded.programs["cookie"], Hook("uprobe", "x"), locations=places):
        target.turn()
    assert loaded.maps["count"][0] == 6
    for wrong, code in (((("/nonexistent", 5, 0, 0),), "HOOK007"), (((binary, 1 << 30, 0, 0),), "HOOK017")):
        with pytest.raises(LoadError) as caught:
            attach(program, Hook("uprobe", "x"), locations=wrong)
        assert caught.value.code == code


def test_places_that_cannot_be_probed(kit, binary, tmp_path):
    program, _ = probing(kit)
    with pytest.raises(SymbolError) as caught:
        attach(program, Hook("uprobe", f"{binary}:twise"))
    assert "twice" in caught.value.hint
    with pytest.raises(SymbolError):
        attach(program, Hook("uprobe", "/nonexistent/binary:main"))
    for location in (("/nonexistent", 1, 0, 0), (binary, 1 << 40, 0, 0), (str(tmp_path), 1, 0, 0)):
        with pytest.raises(AttachError) as caught:
            attach(program, Hook("usdt", "x"), locations=(location,))
        assert caught.value.code == "HOOK007", location
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("usdt", "x"), locations=((binary, place(binary, "twice"), 1 << 33, 0),))
    assert caught.value.code == "HOOK007"


def test_an_own_library(kit):
    """A probe in a library that this process itself uses."""
    program, count = kit.counting("kprobe")
    with attach(program, Hook("uprobe", "", {"binary": "libc.so.6", "symbol": "getppid", "pid": os.getpid()})):
        for _ in range(5):
            os.getppid()
    assert count[0] == 5


def test_kernels_without_uprobe_events(kit, binary, monkeypatch):
    from osmia.kernel.attach import probes

    program, _ = probing(kit)
    monkeypatch.setattr(probes, "_PMU", "/nonexistent")
    with pytest.raises(UnsupportedFeature) as caught:
        attach(program, Hook("uprobe", f"{binary}:twice"))
    assert caught.value.code == "HOOK016"


# Time and counters


def burn(seconds=0.15):
    import time

    end = time.process_time() + seconds
    total = 0
    while time.process_time() < end:
        total += sum(range(100))
    return total


@pytest.mark.parametrize(
    "kind, options",
    [
        ("profile", {"hz": 199}),
        ("profile", {"period_ns": 2_000_000}),
        ("software", {"type": 1, "config": 0, "period": 2_000_000}),
        ("perf_event", {"type": 1, "config": 1, "period": 0, "hz": 199}),
    ],
)
def test_sampling(kit, kind, options):
    program, count = kit.counting("perf_event")
    with attach(program, Hook(kind, "", options)) as link:
        assert isinstance(link, LinkGroup) and len(link) >= 1
        burn()
        assert count[0] >= 5
        assert link.links[0].info().prog_id == program.id
    after = count[0]
    burn(0.05)
    assert count[0] == after


def test_sampling_one_process_with_its_children(kit):
    program, count = kit.counting("perf_event", mine=False)
    child = subprocess.Popen(
        ["sh", "-c", "read x; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"], stdin=subprocess.PIPE
    )
    with attach(program, Hook("profile", "", {"hz": 999}), pid=child.pid):
        burn(0.05)
        assert count[0] == 0
        child.communicate(b"go\n")
        assert count[0] > 10
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("profile", "", {"hz": 99}), pid=1 << 22)
    assert caught.value.code == "HOOK020"


def test_sampling_a_cgroup(kit, cgroup):
    program, count = kit.counting("perf_event", mine=False)
    code = f"echo $$ > {cgroup}/cgroup.procs; i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
    with attach(program, Hook("profile", "", {"hz": 999}), cgroup=cgroup):
        burn(0.05)
        assert count[0] == 0
        subprocess.run(["sh", "-c", code], check=True, timeout=30)
        assert count[0] > 10
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("profile", "", {"hz": 999}), cgroup="/nonexistent")
    assert caught.value.code == "HOOK012"


def test_interval_is_on_one_cpu(kit):
    import time

    program, count = kit.counting("perf_event", mine=False)
    with attach(program, Hook("interval", "", {"period_ns": 10_000_000})) as link:
        assert len(link) == 1
        time.sleep(0.25)
        seen = count[0]
    assert 10 <= seen <= 30


def test_page_faults(kit):
    import mmap

    program, count = kit.counting("perf_event")
    with attach(program, Hook("software", "page-faults", {"type": 1, "config": 2, "period": 1})):
        with mmap.mmap(-1, 200 * mmap.PAGESIZE) as memory:
            for page in range(200):
                memory[page * mmap.PAGESIZE] = 1
        assert count[0] >= 50


def test_hardware_events_here_or_a_clear_refusal(kit):
    program, count = kit.counting("perf_event")
    try:
        with attach(program, Hook("hardware", "cpu-cycles", {"type": 0, "config": 0, "period": 1_000_000})):
            burn()
        assert count[0] > 0
    except AttachError as error:
        assert error.code == "HOOK013" and "cpu-clock" in error.hint


@pytest.mark.parametrize(
    "options, code",
    [({}, "HOOK006"), ({"hz": 5, "period": 5}, "HOOK006"), ({"hz": 99, "cpu": 4096}, "HOOK013"),
     ({"hz": 1 << 40}, "HOOK013"), ({"type": 77, "config": 1, "period": 1}, "HOOK013")],
)  # fmt: skip
def test_events_that_make_no_sense(kit, options, code):
    program, _ = kit.counting("perf_event")
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("profile" if "type" not in options else "perf_event", "", options))
    assert caught.value.code == code


def test_wrong_program_type(kit):
    program, _ = kit.counting("tracepoint")
    with pytest.raises(AttachError) as caught:
        attach(program, Hook("profile", "", {"hz": 99}))
    assert caught.value.code == "HOOK015"


def test_begin_and_end(kit):
    program, count = kit.counting("raw_tracepoint")
    link = attach(program, Hook("begin"))
    assert count[0] == 1
    link.close()
    assert count[0] == 1
    with attach(program, Hook("end")):
        assert count[0] == 1
    assert count[0] == 2


def test_struct_layout_of_perf_attributes():
    from osmia.kernel import syscall

    attr = syscall.perf_attr(
        1, 2, period=3, frequency=True, sample_type=4, disabled=False, wakeup=5, config1=6, config2=7
    )
    assert len(attr) == syscall.PERF_ATTR_SIZE == struct.unpack_from("<I", attr, 4)[0] == 112
    assert struct.unpack_from("<IIQQQQQIIQQ", attr) == (1, 112, 2, 3, 4, 0, 1 << 10, 5, 0, 6, 7)
