import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from osmia.diagnostics import SymbolError
from osmia.symbols.process import ProcessSymbols, SymbolCache, parse_mappings, read_mappings, start_time
from osmia.symbols.stacks import fold, user_frames

PROGRAM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>
__attribute__((noinline)) int my_function(int a) { __asm__ volatile(""); return a + 1; }
static __attribute__((noinline)) int my_static(int a) { __asm__ volatile(""); return a + 2; }
int main(int argc, char **argv) {
    char line[256];
    void *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    long library = (long)dlsym(RTLD_DEFAULT, "getpid");
    printf("my_function %lx\nmy_static %lx\nlibrary %lx\nvdso %lx\njit %lx\n", (long)my_function + my_function(0) - 1,
        (long)my_static + my_static(0) - 2, library, getauxval(AT_SYSINFO_EHDR), (long)code);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strcmp(line, "exec")) execl(argv[0], argv[0], "again", (char *)0);
        void *plugin = dlopen(line, RTLD_NOW);
        printf("plugin %lx\n", plugin ? (long)dlsym(plugin, "plugin_function") : 0);
        fflush(stdout);
    }
    return argc > 9;
}
"""


class Traced:
    """A running test program and the addresses it printed."""

    def __init__(self, path, *, root=None, environment=None):
        def enter():
            os.chroot(root)
            os.chdir("/")

        self.process = subprocess.Popen(
            [path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            preexec_fn=enter if root else None,
        )
        self.pid = self.process.pid
        self.addresses = {}
        self.read(5)

    def read(self, lines):
        for _ in range(lines):
            name, value = self.process.stdout.readline().split()
            self.addresses[name] = int(value, 16)
        return self.addresses

    def tell(self, text, lines=1):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.read(lines)

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def path(cc):
    return cc(PROGRAM, name="traced-program")


@pytest.fixture
def start(path):
    running = []

    def start(program=None, **options):
        running.append(Traced(program or path, **options))
        return running[-1]

    yield start
    for traced in running:
        traced.stop()


@pytest.fixture
def traced(start):
    return start()


def test_functions_of_a_program_and_of_its_library(traced, path):
    with ProcessSymbols.snapshot(traced.pid) as symbols:
        assert symbols.lookup(traced.addresses["my_function"] + 1) == ("my_function", 1, path)
        assert symbols.lookup(traced.addresses["my_static"]) == ("my_static", 0, path)
        name, offset, module = symbols.lookup(traced.addresses["library"])
        assert (name, offset) == ("getpid", 0) and "libc" in module
        assert symbols.build_id(traced.addresses["library"]) != b""
        assert symbols.build_id(5) == b""


def test_non_pie_program(cc, start):
    program = cc(PROGRAM, "-no-pie", "-fno-pie")
    traced = start(program)
    assert ProcessSymbols(traced.pid).lookup(traced.addresses["my_function"]) == ("my_function", 0, program)


def test_the_vdso(traced):
    symbols = ProcessSymbols(traced.pid)
    module = symbols._module(next(item for item in symbols.mappings if item.path == "[vdso]"))[0]
    (entry,) = module.find_all("__vdso_clock_gettime") or module.find_all("__kernel_clock_gettime")
    name, offset, where = symbols.lookup(traced.addresses["vdso"] + entry.address)
    assert name in ("clock_gettime", "__vdso_clock_gettime", "__kernel_clock_gettime")
    assert (offset, where) == (0, "[vdso]")


def test_unknown_addresses(traced, path):
    symbols = ProcessSymbols(traced.pid)
    assert symbols.lookup(0x10) == ("", 0x10, "")
    assert symbols.lookup((1 << 64) - 1) == ("", (1 << 64) - 1, "")
    jit = traced.addresses["jit"]
    assert symbols.lookup(jit) == ("", 0, "[anon]")
    mapping = next(item for item in symbols.mappings if item.path == path)
    # The start of a program's code segment is the section .init, of which only _init has a name.
    end = mapping.end - 1
    name, place, module = symbols.lookup(end)
    assert (name, module) == ("", path) and place > 0


def test_jitted_code_by_perf_map(traced):
    jit = traced.addresses["jit"]
    perf_map = f"/tmp/perf-{traced.pid}.map"
    symbols = ProcessSymbols(traced.pid)
    try:
        with open(perf_map, "w") as file:
            file.write(f"{jit + 16:x} 20 jitted function\n")
        assert symbols.lookup(jit + 20) == ("jitted function", 4, perf_map)
        assert symbols.lookup(jit) == ("", 0, "[anon]")
        traced.stop()
        assert symbols.lookup(jit + 21) == ("jitted function", 5, perf_map)
    finally:
        os.unlink(perf_map)


def test_a_library_loaded_later(cc, traced):
    plugin = cc("int plugin_function(void) { return 1; }", "-shared", "-fPIC", name="plugin.so")
    symbols = ProcessSymbols(traced.pid)
    address = traced.tell(plugin)["plugin"]
    assert address
    assert symbols.lookup(address) == ("plugin_function", 0, plugin)


def test_a_deleted_and_a_replaced_program(cc, start, tmp_path, path):
    copy = str(tmp_path / "copy")
    shutil.copy(path, copy)
    traced = start(copy)
    address = traced.addresses["my_static"]
    if os.geteuid():
        pytest.skip("needs root: map_files opens for CAP_CHECKPOINT_RESTORE only")
    os.unlink(copy)
    assert ProcessSymbols(traced.pid, cache=SymbolCache()).lookup(address) == ("my_static", 0, f"{copy} (deleted)")
    # Another file of the same name has other functions at these addresses; it must not be believed.
    shutil.copy("/bin/sh", copy)
    assert ProcessSymbols(traced.pid, cache=SymbolCache()).lookup(address)[0] == "my_static"
    late = ProcessSymbols(traced.pid, cache=SymbolCache())
    traced.stop()
    name, _, module = late.lookup(address)
    assert (name, module) == ("", f"{copy} (deleted)")


def test_a_file_replaced_before_the_process_ended_is_not_believed(start, tmp_path, path):
    copy = str(tmp_path / "copy")
    shutil.copy(path, copy)
    traced = start(copy)
    symbols = ProcessSymbols(traced.pid, cache=SymbolCache())
    os.rename(copy, copy + ".old")
    shutil.copy("/bin/sh", copy)
    traced.stop()
    assert symbols.lookup(traced.addresses["my_static"])[0] == ""


def test_a_process_that_has_ended(start, path):
    traced = start()
    symbols = ProcessSymbols.snapshot(traced.pid, cache=SymbolCache())
    assert symbols.alive
    traced.stop()
    assert not symbols.alive and not symbols.refresh()
    assert symbols.lookup(traced.addresses["my_function"]) == ("my_function", 0, path)
    assert symbols.lookup(traced.addresses["library"])[0] == "getpid"
    assert symbols.lookup(0x10) == ("", 0x10, "")


def test_preloading_keeps_even_deleted_files(start, tmp_path, path):
    copy = str(tmp_path / "copy")
    shutil.copy(path, copy)
    traced = start(copy)
    symbols = ProcessSymbols.snapshot(traced.pid, cache=SymbolCache())
    symbols.preload()
    os.unlink(copy)
    traced.stop()
    assert symbols.lookup(traced.addresses["my_static"]) == ("my_static", 0, copy)


def test_addresses_from_before_and_after_an_exec(traced, path):
    symbols = ProcessSymbols(traced.pid)
    before = dict(traced.addresses)
    after = dict(traced.tell("exec", 5))
    if before["my_function"] == after["my_function"]:
        pytest.skip("addresses are not randomised here")
    assert symbols.lookup(after["my_function"]) == ("my_function", 0, path)
    assert symbols.lookup(before["my_function"]) == ("my_function", 0, path)


def test_a_process_in_another_root(cc, start, tmp_path):
    if os.geteuid():
        pytest.skip("needs root")
    program = cc(PROGRAM, "-static")
    root = tmp_path / "root"
    (root / "tmp").mkdir(parents=True)
    (root / "opt").mkdir()
    shutil.copy(program, root / "opt/inner")
    traced = start("/opt/inner", root=str(root))
    address, jit = traced.addresses["my_static"], traced.addresses["jit"]
    (root / f"tmp/perf-{traced.pid}.map").write_text(f"{jit:x} 10 inner_jit\n")
    symbols = ProcessSymbols(traced.pid, cache=SymbolCache())
    assert symbols.root.startswith("/proc/self/fd/")
    ended = ProcessSymbols(traced.pid, cache=SymbolCache())
    for each in (symbols, ended):
        name, offset, module = each.lookup(address)
        assert (name, offset) == ("my_static", 0) and module.endswith("/opt/inner")
        assert each.lookup(jit + 1) == ("inner_jit", 1, f"/tmp/perf-{traced.pid}.map")
        traced.stop()
    from osmia.symbols.elf import find_symbol

    again = start("/opt/inner", root=str(root))
    symbol = find_symbol("/opt/inner", "my_static", pid=again.pid)
    assert symbol.path == f"/proc/{again.pid}/root/opt/inner"
    with open(symbol.path, "rb") as inner, open(program, "rb") as outer:
        inner.seek(symbol.offset)
        outer.seek(symbol.offset)
        assert inner.read(8) == outer.read(8)


def test_a_mount_namespace_of_its_own(cc, tmp_path):
    if os.geteuid() or not shutil.which("unshare"):
        pytest.skip("needs root and unshare")
    program = cc(PROGRAM, "-static")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    # Only the child's namespace has this mount, so that its program exists for it alone.
    script = f"mount -t tmpfs none {hidden} && cp {program} {hidden}/inner && exec {hidden}/inner"
    traced = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        line = traced.stdout.readline().split()
        if not line:
            pytest.skip("mount namespaces are not permitted here")
        address = int(line[1], 16)
        assert not (hidden / "inner").exists()
        symbols = ProcessSymbols(traced.pid, cache=SymbolCache())
        assert symbols.lookup(address) == ("my_function", 0, f"{hidden}/inner")
        late = ProcessSymbols(traced.pid, cache=SymbolCache())
    finally:
        traced.kill()
        traced.communicate()
    late.lookup(address)  # the mount is gone with its namespace: any answer but an exception will do
    assert late.lookup(address)[2] == f"{hidden}/inner"


def test_frames_of_a_stack(traced):
    symbols = ProcessSymbols(traced.pid)
    stack = [traced.addresses["library"], traced.addresses["my_function"] + 2, 0x10]
    frames = user_frames(stack, symbols)
    assert [frame.name for frame in frames] == ["getpid", "my_function", ""]
    assert frames[1].offset == 2
    assert fold(frames, command="prog") == "prog;[unknown];my_function;getpid"


def test_ten_thousand_addresses_take_less_than_a_second(traced):
    symbols = ProcessSymbols(traced.pid, cache=SymbolCache())
    module = next(item for item in symbols.mappings if "libc" in item.path)
    step = (module.end - module.start) // 10_000
    addresses = [module.start + step * index for index in range(10_000)]
    start = time.process_time()
    found = symbols.resolve(addresses)
    first = time.process_time() - start
    assert first < 1
    assert sum(1 for name, _, _ in found if name) > 5000
    start = time.process_time()
    assert symbols.resolve(addresses) == found
    assert time.process_time() - start < first


def test_files_are_shared_between_processes(start):
    cache = SymbolCache()
    one, two = start(), start()
    first, second = ProcessSymbols(one.pid, cache=cache), ProcessSymbols(two.pid, cache=cache)
    for symbols, traced in ((first, one), (second, two)):
        assert symbols.lookup(traced.addresses["my_function"])[0] == "my_function"

    def program(symbols):
        mapping = next(item for item in symbols.mappings if item.path.endswith("traced-program"))
        return symbols._module(mapping)[0]

    assert program(first) is program(second)
    found = cache.by_build_id(first.build_id(one.addresses["my_function"]))
    assert found is program(first)


def test_the_cache_is_bounded_and_remembers_garbage(elf, tmp_path):
    cache = SymbolCache()
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"\x7fELF garbage")
    assert cache.load(str(garbage)) is None and cache.load(str(garbage)) is None
    assert cache.load(str(tmp_path / "none")) is None
    for number in range(300):
        cache.load(elf.file(tmp_path / f"f{number}", build_id=number.to_bytes(20, "big")))
    assert len(cache._files) == 256
    assert cache.by_build_id((299).to_bytes(20, "big")) is not None
    assert cache.by_build_id((3).to_bytes(20, "big")) is None


def test_no_descriptors_are_left(start):
    traced = start()
    before = len(os.listdir("/proc/self/fd"))
    symbols = ProcessSymbols(traced.pid, cache=SymbolCache())
    symbols.preload()
    symbols.lookup(traced.addresses["my_function"])
    symbols.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_processes_that_do_not_exist():
    with subprocess.Popen([sys.executable, "-S", "-c", "pass"]) as gone:
        gone.wait()
    for call in (ProcessSymbols, read_mappings, start_time, ProcessSymbols.snapshot):
        with pytest.raises(SymbolError) as caught:
            call(gone.pid)
        assert caught.value.code == "SYM008"


def test_maps_text():
    text = (
        b"00400000-00401000 r-xp 00001000 fd:01 42                          /a b\\012c (deleted)\n"
        b"7fff00000000-7fff00021000 rw-p 00000000 00:00 0                  [stack]\n"
        b"7f0000000000-7f0000001000 r-xp 00000000 00:00 0 \n"
        b"garbage\n\n"
    )
    file, stack, anonymous = parse_mappings(text)
    assert (file.start, file.end, file.offset, file.inode) == (0x400000, 0x401000, 0x1000, 42)
    assert file.path == "/a b\nc (deleted)" and file.executable
    assert file.device == os.makedev(0xFD, 1)
    assert (stack.path, stack.executable) == ("[stack]", False)
    assert (anonymous.path, anonymous.inode) == ("", 0)


def test_own_mappings_agree_with_the_kernel():
    own = read_mappings(os.getpid())
    with open("/proc/self/maps") as maps:
        text = maps.read()
    assert any(item.path == "[vdso]" for item in own) == ("[vdso]" in text)
    starts = {int(start, 16) for start in re.findall(r"^([0-9a-f]+)-", text, re.MULTILINE)}
    assert len(starts & {item.start for item in own}) > len(starts) // 2
