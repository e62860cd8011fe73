"""The index of names on disk: a file per BTF blob, mapped and bisected by the next process.

An index file is trusted only if it and its folder belong to the effective user, nobody else can write
them, and its checksum, version and key fit; anything else is as good as no file. Nothing here ever raises
for the file system's sake: without a usable cache the index is simply built again.

Layout (native byte order): magic, version, flags, type section length, string section length, number of
types, number of named types, key length, checksum; the key, padded to words; word positions of the
records; indices of the named types in the order of name offsets.
"""

from __future__ import annotations

import mmap
import os
import stat
from struct import Struct, error
from zlib import crc32

from osmia.btf.raw import TypeIndex, record_words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.raw import Header

FORMAT_VERSION = 1
_MAGIC = b"OsmiaBtx"
_HEADER = Struct("=8sIIIIIII")
_CHECKSUM = Struct("=I")
_BODY = _HEADER.size + _CHECKSUM.size
_ALIGNED = 1


def is_private(info: os.stat_result) -> bool:
    """Whether the effective user owns a file or folder and nobody else may write to it."""
    return info.st_uid == os.geteuid() and not info.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


class IndexStore:
    """The place of one blob's index file.

    :param folder: the cache folder; created (mode 0700) when the index is saved.
    :param key: hexadecimal digits that identify the blob's contents, such as the kernel's build id.
    """

    __slots__ = ("folder", "key")

    def __init__(self, folder: str, key: str) -> None:
        self.folder = folder
        self.key = key

    @property
    def file_name(self) -> str:
        """The file's name within the folder."""
        return f"btf-{self.key}.index"

    def load(self, header: Header, words: memoryview) -> TypeIndex | None:
        """The index of the blob with this header, or nothing when there is no file to trust."""
        try:
            folder = self._open_folder()
            if folder < 0:
                return None
            try:
                flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
                file = os.open(self.file_name, flags, dir_fd=folder)
            finally:
                os.close(folder)
            try:
                info = os.fstat(file)
                if not stat.S_ISREG(info.st_mode) or not is_private(info) or info.st_size < _BODY:
                    return None
                data = mmap.mmap(file, info.st_size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
            finally:
                os.close(file)
        except (OSError, ValueError):
            return None
        return self._parse(data, header, words)

    def save(self, header: Header, index: TypeIndex) -> bool:
        """Write the file, whole or not at all; False when that was not possible."""
        from array import array

        key = self.key.encode()
        flags = _ALIGNED if index.aligned else 0
        starts, order = array("I", index.starts), array("I", index.order)
        head = _HEADER.pack(
            _MAGIC, FORMAT_VERSION, flags, header.type_len, header.str_len, len(starts), len(order), len(key)
        )
        body = b"".join((key, bytes(-len(key) % 4), starts, order))
        checksum = _CHECKSUM.pack(crc32(body, crc32(head)))
        try:
            os.makedirs(self.folder, mode=0o700, exist_ok=True)
            folder = self._open_folder()
            if folder < 0:
                return False
            try:
                self._write(folder, b"".join((head, checksum, body)))
            finally:
                os.close(folder)
        except OSError:
            return False
        return True

    def _open_folder(self) -> int:
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if is_private(os.fstat(folder)):
            return folder
        os.close(folder)
        return -1

    def _write(self, folder: int, content: bytes) -> None:
        temporary = f".{self.file_name}.{os.getpid()}-{os.urandom(4).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.open(temporary, flags, 0o600, dir_fd=folder)
        try:
            try:
                rest = memoryview(content)
                while rest:
                    rest = rest[os.write(file, rest) :]
            finally:
                os.close(file)
            os.rename(temporary, self.file_name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            os.unlink(temporary, dir_fd=folder)
            raise

    def _parse(self, data: mmap.mmap, header: Header, words: memoryview) -> TypeIndex | None:
        try:
            magic, version, flags, type_len, str_len, count, named, key_len = _HEADER.unpack_from(data)
            (checksum,) = _CHECKSUM.unpack_from(data, _HEADER.size)
        except error:
            return None
        if magic != _MAGIC or version != FORMAT_VERSION or flags & ~_ALIGNED:
            return None
        if type_len != header.type_len or str_len != header.str_len:
            return None
        starts_at = _BODY + key_len + -key_len % 4
        order_at = starts_at + 4 * count
        if len(data) != order_at + 4 * named or data[_BODY : _BODY + key_len] != self.key.encode():
            return None
        view = memoryview(data)
        if crc32(view[_BODY:], crc32(view[: _HEADER.size])) != checksum:
            return None
        starts = view[starts_at:order_at].cast("I")
        order = view[order_at:].cast("I")
        return TypeIndex(starts, order, bool(flags & _ALIGNED)) if _fits(starts, words) else None


def _fits(starts: memoryview, words: memoryview) -> bool:
    """Whether the first and the last record of an index are where the data has them."""
    if not starts:
        return not words
    last = starts[-1]
    if starts[0] or last + 3 > len(words):
        return False
    try:
        return last + record_words(words[last + 1]) == len(words)
    except ValueError:
        return False
