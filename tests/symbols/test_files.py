import os
import shutil
import struct
import subprocess
import sys

import pytest

from osmia.diagnostics import SymbolError
from osmia.symbols.elf import ElfSymbols
from osmia.symbols.files import find_binary, find_library, process_root, read_loader_cache, resolve_in_root


def test_programs_are_found_on_the_path():
    assert find_binary("sh") == os.path.realpath(shutil.which("sh"))
    assert find_binary("/bin/sh") == os.path.realpath("/bin/sh")


def test_path_is_respected(tmp_path, monkeypatch):
    tool = tmp_path / "uniquetool"
    tool.write_text("x")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SymbolError):
        find_binary("uniquetool")
    tool.chmod(0o755)
    assert find_binary("uniquetool") == str(tool)


@pytest.mark.parametrize("name", ["c", "libc", "libc.so.6"])
def test_the_c_library_by_its_names(name):
    path = find_binary(name)
    assert "malloc" in set(ElfSymbols.open(path).names())
    with open("/proc/self/maps") as maps:
        mapped = {line.split()[5] for line in maps if "/libc.so.6" in line or "/libc-" in line}
    assert path in {os.path.realpath(item) for item in mapped}


def test_the_loader_cache_agrees_with_ldconfig():
    if not shutil.which("ldconfig"):
        pytest.skip("ldconfig is not installed")
    printed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    native = {"x86_64": "x86-64", "aarch64": "AArch64"}.get(os.uname().machine)
    expected = set()
    for line in printed.splitlines()[1:]:
        name, _, path = line.strip().partition(" => ")
        if path and native and native in name:
            expected.add((name.split(" (")[0], path))
    assert set(read_loader_cache()) == expected
    assert expected


def make_cache(entries, *, old=False, flags=None):
    flags = {"x86_64": 0x0303, "aarch64": 0x0A03}.get(os.uname().machine, 3) if flags is None else flags
    strings, table = b"", b""
    start = 48 + 24 * len(entries)
    for soname, path in entries:
        key = start + len(strings)
        strings += soname.encode() + b"\0"
        table += struct.pack("=iIIIQ", flags, key, start + len(strings), 0, 0)
        strings += path.encode() + b"\0"
    head = b"glibc-ld.so.cache1.1" + struct.pack("=II", len(entries), len(strings)) + bytes(20)
    prefix = b"ld.so-1.7.0\0" + struct.pack("=I", 0) if old else b""
    return prefix + head + table + strings


@pytest.fixture
def root(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "lib").mkdir()
    for name in ("libdemo.so.2", "libdemo.so.10", "libother.so.1"):
        (tmp_path / "lib" / name).write_text("x")
    return tmp_path


@pytest.mark.parametrize("old", [False, True])
def test_a_cache_in_another_root(root, old):
    entries = [("libdemo.so.2", "/lib/libdemo.so.2"), ("libdemo.so.10", "/lib/libdemo.so.10"), ("libgone.so", "/lib/x")]
    (root / "etc/ld.so.cache").write_bytes(make_cache(entries, old=old))
    assert read_loader_cache(str(root)) == entries
    assert find_library("demo", str(root)) == f"{root}/lib/libdemo.so.10"
    assert find_library("libdemo.so.2", str(root)) == f"{root}/lib/libdemo.so.2"
    assert find_library("libdemo", str(root)) == f"{root}/lib/libdemo.so.10"
    assert find_library("libgone", str(root)) is None
    assert find_library("other", str(root)) is None


def test_without_a_cache_the_standard_folders_are_searched(root):
    assert find_library("other", str(root)) == f"{root}/lib/libother.so.1"
    assert find_library("demo", str(root)) == f"{root}/lib/libdemo.so.10"


@pytest.mark.parametrize("cut", [0, 10, 30, 60, 100])
def test_a_damaged_cache_is_no_cache(root, cut):
    whole = make_cache([("libdemo.so.2", "/lib/libdemo.so.2")])
    (root / "etc/ld.so.cache").write_bytes(whole[:cut])
    assert read_loader_cache(str(root)) == []
    (root / "etc/ld.so.cache").write_bytes(make_cache([("libdemo.so.2", "/lib/libdemo.so.2")], flags=0x0999))
    assert read_loader_cache(str(root)) == []


def test_links_stay_inside_the_root(tmp_path):
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "usr/lib/real").write_text("x")
    (tmp_path / "lib").symlink_to("/usr/lib")
    (tmp_path / "usr/lib/relative").symlink_to("../../usr/lib/real")
    (tmp_path / "usr/lib/absolute").symlink_to("/lib/real")
    (tmp_path / "usr/lib/outside").symlink_to("../../../../../../etc/passwd")
    (tmp_path / "usr/lib/loop").symlink_to("loop")
    here = str(tmp_path)
    for name in ("real", "relative", "absolute"):
        assert resolve_in_root(here, f"/lib/{name}") == f"{here}/usr/lib/real"
    assert resolve_in_root(here, "/lib/outside") == f"{here}/etc/passwd"
    assert resolve_in_root(here, "/../../x") == f"{here}/x"
    with pytest.raises(SymbolError) as caught:
        resolve_in_root(here, "/lib/loop")
    assert caught.value.code == "SYM001"


def test_unknown_names_get_suggestions(tmp_path):
    with pytest.raises(SymbolError) as caught:
        find_binary("libcc.so.6")
    assert caught.value.code == "SYM007" and "libc.so.6" in caught.value.hint
    (tmp_path / "program").write_text("x")
    with pytest.raises(SymbolError) as caught:
        find_binary(f"{tmp_path}/progam")
    assert caught.value.code == "SYM007" and "program" in caught.value.hint
    for odd in ("", "a\0b"):
        with pytest.raises(SymbolError) as caught:
            find_binary(odd)
        assert caught.value.code == "SYM007"


def test_libraries_of_a_process_come_first():
    command = [sys.executable, "-S", "-c", "print('ready', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"ready\n"  # its libraries are mapped by now
            path = find_binary("c", pid=child.pid)
            with open(f"/proc/{child.pid}/maps") as maps:
                mapped = [line.split()[5] for line in maps if " r-xp " in line and "/libc" in line]
            assert path in mapped
            assert process_root(child.pid) == "/"
        finally:
            child.kill()


def test_processes_that_do_not_exist():
    for call in (lambda: find_binary("sh", pid=2**22 + 5), lambda: process_root(2**22 + 5)):
        with pytest.raises(SymbolError) as caught:
            call()
        assert caught.value.code == "SYM008"
