"""Finding binaries: programs on PATH, libraries in the loader's cache, paths inside another root.

A root is a directory such as ``/proc/PID/root``: the file system as that process sees it. Paths inside it
are walked one component at a time, because an absolute symbolic link would otherwise lead out of it.
"""

from __future__ import annotations

import os
import re
import stat
import struct

from osmia.diagnostics.errors import SymbolError
from osmia.diagnostics.text import suggest
from osmia.symbols.image import ElfImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_LINKS = 40
_MAX_CACHE = 32 << 20
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# The low byte of an entry's flags is FLAG_ELF_LIBC6 (3); the next says which ABI (glibc, dl-cache.h).
_NATIVE_FLAGS = {"x86_64": 0x0303, "aarch64": 0x0A03, "ppc64le": 0x0503, "s390x": 0x0403, "riscv64": 0x1003}
_TRIPLETS = {"ppc64le": "powerpc64le-linux-gnu", "riscv64": "riscv64-linux-gnu"}


def resolve_in_root(root: str, path: str) -> str:
    """The path by which this process opens ``path`` of the file system at ``root``, links followed.

    A missing file gives the path it would have.

    :raises SymbolError: SYM001, more than 40 symbolic links.
    """
    if root in ("", "/"):
        return os.path.realpath(path)
    done: list[str] = []
    todo = path.split("/")[::-1]
    links = 0
    while todo:
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del done[-1:]
            continue
        here = "/".join([root, *done, part])
        try:
            target = os.readlink(here)
        except (OSError, ValueError):
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise SymbolError("SYM001", f"cannot open '{path}': too many levels of symbolic links")
        if target.startswith("/"):
            done.clear()
        todo.extend(target.split("/")[::-1])
    return "/".join([root.rstrip("/"), *done])


def process_root(pid: int) -> str:
    """The root directory of a process, as a path; ``/`` where it sees the same files as this process.

    :raises SymbolError: SYM008, there is no such process.
    """
    if not os.path.exists(f"/proc/{pid}"):
        raise no_such_process(pid)
    try:
        same = os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
        theirs, ours = os.stat(f"/proc/{pid}/root"), os.stat("/")
    except OSError:
        return "/"
    same = same and (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
    return "/" if same else f"/proc/{pid}/root"


def mapping_root(pid: int) -> str:
    """The root that paths in a process's ``maps`` are relative to.

    The kernel writes them for the reader: within this process's own root where that can reach the file,
    however the other one sees it (chroot); else within the other one's mount namespace.
    """
    try:
        same = os.readlink(f"/proc/{pid}/ns/mnt") == os.readlink("/proc/self/ns/mnt")
    except OSError:
        return "/"
    return "/" if same else process_root(pid)


def no_such_process(pid: int) -> SymbolError:
    """The error for a process that does not exist, or not any more."""
    return SymbolError(
        "SYM008",
        f"there is no process {pid}",
        hint="process numbers are those of the pid namespace Osmia runs in; see `ps -e`",
    )


def find_binary(name: str, *, pid: int | None = None) -> str:
    """The file that a probe's target names, as a path this process can open.

    A name with a slash is a path. Otherwise it is, in this order: a library the process ``pid`` has
    mapped; a program on PATH; a library of the loader's cache, where ``c``, ``libc`` and ``libc.so.6``
    all mean the C library (names that look like a library are looked up as one first). With ``pid``, files
    are those that the process sees.

    :raises SymbolError: SYM007 (not found, with near names), SYM008 (no such process).
    """
    root = "/" if pid is None else process_root(pid)
    if not name or "\0" in name:
        raise SymbolError("SYM007", "the name of a program or library is empty or holds a null byte")
    if "/" in name:
        found = resolve_in_root(root, _from_directory_of(pid, name))
        if not os.path.exists(found):
            raise _missing_path(name, found)
        return found
    if pid is not None:
        mapped = _mapped_library(pid, name)
        if mapped:
            return mapped
    ways = [_find_program, find_library]
    if name.startswith("lib") or ".so" in name:
        ways.reverse()
    for way in ways:
        path = way(name, root)
        if path:
            return path
    near = suggest(name, _known_names(root))
    hint = f"did you mean {', '.join(near)}? " if near else ""
    raise SymbolError(
        "SYM007",
        f"there is no program or library '{name}'" + (f" in the files of process {pid}" if pid else ""),
        hint=hint + "a full path names any file",
    )


def find_library(name: str, root: str = "/") -> str | None:
    """The path of a shared library by soname or by short name (``c``, ``libc``, ``ssl``); ``None`` if unknown.

    The loader's cache answers; without one, the standard directories are searched. Of several versions
    the highest is taken.
    """
    rank = -1
    best: tuple[list[int], str] | None = None
    for soname, path in _libraries(root):
        level = _match_level(name, soname)
        if level < 0 or level < rank:
            continue
        version = [int(digits) for digits in re.findall(r"\d+", soname.rpartition(".so")[2])]
        if level > rank or best is None or version > best[0]:
            found = resolve_in_root(root, path)
            if os.path.isfile(found):
                rank, best = level, (version, found)
    return best[1] if best is not None else None


def _match_level(name: str, soname: str) -> int:
    if name == soname:
        return 2
    stem = soname.partition(".so")[0]
    if name in (stem, stem + ".so"):
        return 1
    return 0 if stem == f"lib{name}" else -1


def read_loader_cache(root: str = "/") -> list[tuple[str, str]]:
    """Soname and path of the libraries in ``/etc/ld.so.cache`` that fit this machine's own ABI.

    Reads the format of glibc 2.2 and later (``glibc-ld.so.cache1.1``), also behind the older one. A
    missing or damaged cache gives an empty list.
    """
    try:
        with open(resolve_in_root(root, "/etc/ld.so.cache"), "rb") as file:
            data = file.read(_MAX_CACHE)
    except OSError:
        return []
    start = data.find(b"glibc-ld.so.cache1.1")
    if start < 0 or len(data) < start + 48:
        return []
    count = struct.unpack_from("=I", data, start + 20)[0]
    flags = _NATIVE_FLAGS.get(os.uname().machine, 3)
    found = []
    for index in range(count):
        at = start + 48 + 24 * index
        if at + 24 > len(data):
            break
        kind, key, value = struct.unpack_from("=iII", data, at)
        # Bits above are for hardware capabilities' own subdirectories; 0xffff is the ABI.
        if kind & 0xFFFF == flags:
            found.append((_string(data, start + key), _string(data, start + value)))
    return [(soname, path) for soname, path in found if soname and path]


def _string(data: bytes, at: int) -> str:
    end = data.find(b"\0", at)
    return os.fsdecode(data[at:end]) if end >= 0 else ""


def _libraries(root: str) -> Iterator[tuple[str, str]]:
    cached = read_loader_cache(root)
    if cached:
        yield from cached
        return
    machine = os.uname().machine
    triplet = _TRIPLETS.get(machine, f"{machine}-linux-gnu")
    for folder in (f"/lib/{triplet}", f"/usr/lib/{triplet}", "/lib64", "/usr/lib64", "/lib", "/usr/lib"):
        try:
            names = sorted(os.listdir(resolve_in_root(root, folder)))
        except OSError:
            continue
        for name in names:
            if ".so" in name:
                yield name, f"{folder}/{name}"


def _search_path(root: str) -> list[str]:
    listed = os.environ.get("PATH", _DEFAULT_PATH) if root == "/" else _DEFAULT_PATH
    return [folder for folder in listed.split(":") if folder.startswith("/")]


def _find_program(name: str, root: str) -> str | None:
    for folder in _search_path(root):
        path = resolve_in_root(root, f"{folder}/{name}")
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):
            continue
        if stat.S_ISREG(mode) and mode & 0o111:
            return path
    return None


def _mapped_library(pid: int, name: str) -> str | None:
    from osmia.symbols.process import read_mappings

    for mapping in read_mappings(pid):
        base = mapping.path.rpartition("/")[2].removesuffix(" (deleted)")
        plain = re.sub(r"-\d[\d.]*\.so", ".so", base)
        if mapping.inode and ".so" in base and max(_match_level(name, base), _match_level(name, plain)) >= 0:
            exact = f"/proc/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
            path = resolve_in_root(mapping_root(pid), mapping.path)
            try:
                return path if os.stat(path).st_ino == mapping.inode else exact
            except OSError:
                return exact
    return None


def _from_directory_of(pid: int | None, name: str) -> str:
    if name.startswith("/") or pid is None:
        return name
    try:
        return os.path.join(os.readlink(f"/proc/{pid}/cwd"), name)
    except OSError:
        return "/" + name


def _missing_path(name: str, found: str) -> SymbolError:
    folder, _, base = found.rpartition("/")
    try:
        near = suggest(base, os.listdir(folder or "/"))
    except OSError:
        near = []
    hint = f"near it: {', '.join(near)}" if near else None
    return SymbolError("SYM007", f"there is no file '{name}'", hint=hint)


def _known_names(root: str) -> Iterator[str]:
    for soname, _ in _libraries(root):
        yield soname
        yield soname.partition(".so")[0]
    for folder in _search_path(root):
        try:
            yield from os.listdir(resolve_in_root(root, folder))
        except OSError:
            continue


def open_image(path: str, shown: str | None = None) -> ElfImage:
    """An ELF file that is a program or a shared library.

    :raises SymbolError: SYM001, SYM002, SYM003; SYM016, it is an unlinked object or a core dump.
    """
    from osmia.symbols.image import ET_DYN, ET_EXEC

    image = ElfImage.open(path, shown)
    if image.type in (ET_EXEC, ET_DYN):
        return image
    kind = {1: "an object that is not linked yet", 4: "a core dump"}.get(image.type, f"of type {image.type}")
    image.close()
    raise SymbolError(
        "SYM016",
        f"'{image.name}' is no program or shared library: it is {kind}",
        hint="name the program or library that runs",
    )
