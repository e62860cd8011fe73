"""Programs for the kernel tests: assembled here, loaded, and closed after the test."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import contextmanager

import pytest

from osmia.abi import attach_types, helpers, prog_types
from osmia.isa.assembler import assemble
from osmia.isa.instruction import encode_program
from osmia.object.layout import U32, U64
from osmia.object.spec import CollectionSpec, Hook, MapSpec, ProgramSpec, Reloc

COUNT = """
    *(u32 *)(r10 - 4) = 0
    r2 = r10
    r2 += -4
    r1 = map[count] ll
    call map_lookup_elem
    if r0 == 0 goto out
    r1 = 1
    lock *(u64 *)(r0 + 0) += r1
out:
    r0 = {verdict}
    exit
"""
MINE = """
    call get_current_pid_tgid
    r0 >>= 32
    if r0 != {pid} goto out
"""


class Kit:
    """Builds specs, loads them, and closes everything at the end of the test."""

    def __init__(self):
        self._open = []
        self._pid = 0

    @property
    def pid(self):
        """This process's number in the initial pid namespace, which is the one that programs see."""
        if not self._pid:
            code = """
                call get_current_pid_tgid
                r0 >>= 32
                *(u64 *)(r10 - 16) = r0
                *(u32 *)(r10 - 4) = 0
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
            loaded = self.load(self.spec("pid", "raw_tracepoint", code, maps=[self.counter()]))
            loaded.programs["pid"].test_run()
            self._pid = loaded.maps["count"][0]
        return self._pid

    def keep(self, item):
        self._open.append(item)
        return item

    def close(self):
        for item in reversed(self._open):
            item.close()
        self._open.clear()

    def counter(self, name="count"):
        return MapSpec(name, "array", key=U32, value=U64, max_entries=1)

    def code(self, text, maps=()):
        """Instructions and relocations; ``map[NAME]`` refers to a map."""
        numbers = {name: 1000 + index for index, name in enumerate(maps)}
        names = {row.name: row.number for row in helpers.helpers()}
        data = encode_program(assemble(text, helpers=names, maps=numbers))
        relocs, slot = [], 0
        while slot * 8 < len(data):
            wide = data[slot * 8] == 0x18
            source = data[slot * 8 + 1] >> 4
            if wide and source in (1, 2):
                number = int.from_bytes(data[slot * 8 + 4 : slot * 8 + 8], "little")
                name = list(numbers)[number - 1000]
                addend = int.from_bytes(data[slot * 8 + 12 : slot * 8 + 16], "little")
                relocs.append(Reloc(slot, "map" if source == 1 else "map_value", name, addend))
            slot += 2 if wide else 1
        return data, relocs

    def spec(self, name, kind, text, *, maps=(), attach="", hook=None, license="GPL", flags=0, **rest):
        """A collection of one program."""
        spec = CollectionSpec("test")
        for item in maps:
            spec.maps[item.name] = item
        self.add(spec, name, kind, text, attach=attach, hook=hook, license=license, flags=flags, **rest)
        return spec

    def add(self, spec, name, kind, text, *, attach="", hook=None, license="GPL", flags=0, **rest):
        data, relocs = self.code(text, spec.maps)
        spec.programs[name] = ProgramSpec(
            name, kind, prog_types.number(kind), data, attach_type=attach_types.number(attach) if attach else 0,
            relocs=relocs, hook=hook, license=license, flags=flags, **rest,
        )  # fmt: skip
        return spec

    def load(self, spec, **options):
        from osmia.kernel.load import LoadOptions, load

        return self.keep(load(spec, LoadOptions(**options)))

    def counting(self, kind, *, attach="", hook=None, verdict=0, mine=True, flags=0):
        """A loaded program that counts its runs, those of this process alone where there is one; and the map."""
        text = (MINE.format(pid=self.pid) if mine else "") + COUNT.format(verdict=verdict)
        loaded = self.load(
            self.spec("counting", kind, text, maps=[self.counter()], attach=attach, hook=hook, flags=flags)
        )
        return loaded.programs["counting"], loaded.maps["count"]

    def map(self, kind, **rest):
        from osmia.kernel.create import create_map

        return self.keep(create_map(MapSpec(rest.pop("name", "m"), kind, **rest)))


@pytest.fixture
def kit():
    made = Kit()
    yield made
    made.close()


@pytest.fixture
def hook():
    return Hook


class Namespace:
    """A network namespace with a veth pair, ``near`` and ``far``, up and with addresses."""

    def __init__(self, name):
        self.name = name

    @property
    def path(self):
        return f"/run/netns/{self.name}"

    def run(self, *words):
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *words], check=True, capture_output=True, text=True, timeout=20
        ).stdout

    @contextmanager
    def inside(self):
        from osmia.kernel import namespaces

        with namespaces.inside(self.path):
            yield


@pytest.fixture
def netns():
    """A network namespace of the test's own."""
    made = Namespace(f"osmia-{os.getpid()}-{time.monotonic_ns() % 1_000_000}")
    try:
        subprocess.run(["ip", "netns", "add", made.name], check=True, capture_output=True, timeout=20)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("network namespaces cannot be made here (iproute2, root)")
    try:
        made.run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")  # no packets but the test's own
        made.run("ip", "link", "set", "lo", "up")
        made.run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
        for device, address in (("near", "10.9.0.1/24"), ("far", "10.9.1.1/24")):
            made.run("ip", "addr", "add", address, "dev", device)
            made.run("ip", "link", "set", device, "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "del", made.name], check=False, capture_output=True, timeout=20)


@pytest.fixture
def cgroup():
    """A cgroup (version 2) of the test's own, as a path."""
    root = _cgroup_root()
    if root is None:
        pytest.skip("no cgroup2 file system is mounted")
    path = f"{root}/osmia-{os.getpid()}-{time.monotonic_ns() % 1_000_000}"
    os.mkdir(path)
    yield path
    for _ in range(50):
        try:
            os.rmdir(path)
            return
        except OSError:
            time.sleep(0.02)


def _cgroup_root():
    with open("/proc/mounts") as file:
        for line in file:
            words = line.split()
            if words[2] == "cgroup2" and os.access(words[1], os.W_OK):
                return words[1]
    return None


@pytest.fixture
def bpffs(tmp_path):
    """A bpf file system of the test's own, as a path."""
    place = tmp_path / "bpf"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "bpf", "bpf", str(place)], check=False, capture_output=True, timeout=20)
    if done.returncode:
        pytest.skip("a bpf file system cannot be mounted here")
    yield str(place)
    subprocess.run(["umount", "-l", str(place)], check=False, capture_output=True, timeout=20)


@pytest.fixture
def journal_dir(tmp_path, monkeypatch):
    """A journal of the test's own."""
    from osmia.kernel import journal

    place = str(tmp_path / "journal")
    monkeypatch.setattr(journal, "folder", lambda: place)
    return place
