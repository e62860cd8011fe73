"""The running kernel's BTF: ``/sys/kernel/btf``, and the build id that its index is cached under."""

from __future__ import annotations

import mmap
import os
from struct import Struct

from osmia.btf.index_file import IndexStore
from osmia.btf.reader import Btf
from osmia.diagnostics import BtfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.raw import Buffer

BTF_FOLDER = "/sys/kernel/btf"
NOTES_FILE = "/sys/kernel/notes"
_NOTE = Struct("=III")
_NT_GNU_BUILD_ID = 3

_opened: dict[tuple[str, str], Btf] = {}


def build_id(notes_file: str = NOTES_FILE) -> str:
    """The running kernel's GNU build id in hexadecimal; empty where the kernel does not tell."""
    try:
        with open(notes_file, "rb") as file:
            notes = file.read()
    except OSError:
        return ""
    place = 0
    while place + _NOTE.size <= len(notes):
        name_len, desc_len, kind = _NOTE.unpack_from(notes, place)
        name_at = place + _NOTE.size
        desc_at = name_at + (name_len + 3 & ~3)
        if kind == _NT_GNU_BUILD_ID and notes[name_at : name_at + name_len] == b"GNU\0":
            return notes[desc_at : desc_at + desc_len].hex()
        place = desc_at + (desc_len + 3 & ~3)
    return ""


def kernel_key(path: str) -> str:
    """What the index of a kernel's BTF is cached under: the build id, else a hash of what tells kernels apart."""
    found = build_id()
    if found:
        return found
    from hashlib import sha256

    info = os.stat(path)
    return sha256(repr((*os.uname(), info.st_size, info.st_mtime_ns)).encode()).hexdigest()[:40]


def kernel_btf(cache_dir: str | None = None, folder: str = BTF_FOLDER) -> Btf:
    """The running kernel's own types. Read once per process.

    :param cache_dir: a private folder in which the index of names is kept between processes; without it,
        the first look-up by name takes some 60 ms more.
    :raises BtfError: ``BTF030`` the kernel has no BTF, ``BTF031`` it cannot be read, or the data is bad.
    """
    key = (folder, "vmlinux")
    found = _opened.get(key)
    if found is None:
        path = f"{folder}/vmlinux"
        data = _contents(path)
        store = IndexStore(cache_dir, kernel_key(path)) if cache_dir else None
        found = _opened[key] = Btf(data, store=store)
    return found


def module_names(folder: str = BTF_FOLDER) -> list[str]:
    """The loaded modules that have BTF, sorted."""
    try:
        return sorted(name for name in os.listdir(folder) if name != "vmlinux")
    except OSError:
        return []


def module_btf(name: str, cache_dir: str | None = None, folder: str = BTF_FOLDER) -> Btf:
    """The types of one loaded module, on top of the kernel's. ``vmlinux`` is the kernel itself.

    :raises BtfError: ``BTF032`` there is no such module or it has no BTF; else as :func:`kernel_btf`.
    """
    if name == "vmlinux":
        return kernel_btf(cache_dir, folder)
    found = _opened.get((folder, name))
    if found is None:
        base = kernel_btf(cache_dir, folder)
        loaded = module_names(folder)
        if name not in loaded:
            known = ", ".join(loaded[:8]) + (", ..." if len(loaded) > 8 else "")
            raise BtfError(
                "BTF032",
                f"no loaded module named {name!r} has BTF",
                hint=f"modules with BTF: {known}" if loaded else "no loaded module has BTF; is the module loaded?",
            )
        found = Btf(_contents(f"{folder}/{name}"), base)
        found.starts  # noqa: B018 - the walk over the records
        _opened[folder, name] = found
    return found


def _contents(path: str) -> Buffer:
    """A file's bytes: mapped where the kernel can map them (Linux 6.16), else read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise BtfError(
            "BTF030",
            f"the kernel offers no type information: {path} does not exist",
            hint="the kernel needs CONFIG_DEBUG_INFO_BTF=y (most distributions since 2020), and /sys mounted",
        ) from None
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        size = os.fstat(file).st_size
        try:
            return mmap.mmap(file, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        except (OSError, ValueError):
            with open(file, "rb", closefd=False) as stream:
                return stream.read()
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(file)


def _unreadable(path: str, error: OSError) -> BtfError:
    return BtfError("BTF031", f"cannot read {path}: {error.strerror}", hint="check the file's permissions")
