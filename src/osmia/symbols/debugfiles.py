"""Where a stripped binary's symbols may be: separate debug files and compressed mini debug data."""

from __future__ import annotations

import os

from osmia.diagnostics.errors import SymbolError
from osmia.symbols.files import resolve_in_root
from osmia.symbols.image import ElfImage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DEBUG_ROOT = "/usr/lib/debug"
_MAX_MINI = 256 << 20
_MAX_CHECKED = 1 << 30


def debug_image(image: ElfImage, path: str, root: str = "/") -> ElfImage | None:
    """The separate debug file of a binary: by build id, else by ``.gnu_debuglink``; ``None`` without one.

    A file found by name is believed only if its build id, or the checksum in the link, agrees (GDB
    manual, "Debugging Information in Separate Files").
    """
    build_id = image.build_id
    for place, checksum in _places(image, path, root):
        try:
            found = ElfImage.open(resolve_in_root(root, place))
        except SymbolError:
            continue
        theirs = found.build_id
        agrees = theirs == build_id if build_id and theirs else checksum is not None and _crc(found) == checksum
        if agrees and found.machine == image.machine and not _is_same_file(found, image):
            return found
        found.close()
    return None


def build_id_path(build_id: bytes, suffix: str = ".debug") -> str:
    """Where distributions keep the file with that build id; suffix ``""`` is the binary itself."""
    text = build_id.hex()
    return f"{DEBUG_ROOT}/.build-id/{text[:2]}/{text[2:]}{suffix}"


def _places(image: ElfImage, path: str, root: str) -> Iterator[tuple[str, int | None]]:
    if len(image.build_id) >= 2:
        yield build_id_path(image.build_id), None
    section = image.section(".gnu_debuglink")
    if section is None:
        return
    data = image.contents(section)
    # A name, null bytes up to a multiple of four, and a CRC-32 of the debug file.
    end = data.find(b"\0")
    at = end + 4 & ~3
    if end <= 0 or at + 4 > len(data):
        return
    name = os.fsdecode(data[:end])
    if "/" in name or name in (".", ".."):
        return
    checksum = image.unpack("I", data, at)[0]
    inside = path.removeprefix(root.rstrip("/")) if root != "/" else path
    folder = os.path.dirname(os.path.realpath(inside) if root == "/" else inside)
    for place in (f"{folder}/{name}", f"{folder}/.debug/{name}", f"{DEBUG_ROOT}{folder}/{name}"):
        yield place, checksum


def _crc(image: ElfImage) -> int:
    import zlib

    if image.size > _MAX_CHECKED:
        return -1
    value, at = 0, 0
    while at < image.size:
        part = image.read(at, min(1 << 20, image.size - at), "the debug file")
        value = zlib.crc32(part, value)
        at += len(part)
    return value


def _is_same_file(one: ElfImage, other: ElfImage) -> bool:
    if one.status is None or other.status is None:
        return False
    return (one.status.st_dev, one.status.st_ino) == (other.status.st_dev, other.status.st_ino)


def mini_debug_image(image: ElfImage, path: str = "", root: str = "/") -> ElfImage | None:
    """The small symbol table that Fedora and others put into ``.gnu_debugdata``, compressed with xz."""
    del path, root
    section = image.section(".gnu_debugdata")
    if section is None:
        return None
    try:
        import lzma
    except ImportError:
        return None
    unpacker = lzma.LZMADecompressor(memlimit=_MAX_MINI)
    try:
        data = unpacker.decompress(image.contents(section), _MAX_MINI)
    except lzma.LZMAError as error:
        raise image.damaged(f"its .gnu_debugdata cannot be unpacked ({error})") from error
    if not unpacker.eof:
        raise image.damaged("its .gnu_debugdata is cut off or larger than 256 MiB")
    return ElfImage(f"{image.name}(.gnu_debugdata)", data=data)
