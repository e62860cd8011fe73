"""Caches on disk that only their owner can fill.

Two levels use this: portable objects and programs relocated for one kernel. An entry is used only when its
folder and its file belong to the effective user and nobody else may write them, so root never runs what another user
cached. Nothing here ever fails a run: what cannot be read is compiled again, what cannot be written is noted.
"""

from __future__ import annotations

import marshal
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MAGIC = b"OSMIA\x00\x02\n"
_DIGEST = 16
_LIMIT = 512
"""Entries of one kind that are kept; the oldest go first."""


def default_root() -> str:
    """The cache folder: ``$OSMIA_CACHE_DIR``, ``$XDG_CACHE_HOME/osmia``, ``~/.cache/osmia``; for root
    ``/var/cache/osmia``.

    Root does not follow ``HOME`` or ``XDG_CACHE_HOME``, which ``sudo`` may leave pointing at another user's folder.
    """
    chosen = os.environ.get("OSMIA_CACHE_DIR")
    if chosen:
        return chosen
    if os.geteuid() == 0:
        return "/var/cache/osmia"
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "osmia")


def _digest(data: bytes) -> bytes:
    from _blake2 import blake2b

    return blake2b(data, digest_size=_DIGEST).digest()


class Cache:
    """Entries by kind and key.

    :ivar root: the folder. :ivar note: why the cache is not used or an entry could not be kept, ``""`` when all is
        well.
    """

    def __init__(self, root: str | None = None, enabled: bool = True) -> None:
        self.root = root or default_root()
        self.enabled = enabled
        self.note = ""

    def load(self, kind: str, key: bytes) -> Any | None:
        """The data stored under the key, or ``None``: absent, foreign, corrupt or from another format."""
        folder = self._open_folder(kind, create=False)
        if folder < 0:
            return None
        try:
            return self._read(folder, key.hex())
        finally:
            os.close(folder)

    def store(self, kind: str, key: bytes, data: Any) -> bool:
        """Keeps ``data`` (what ``marshal`` takes) under the key; ``False`` and a :attr:`note` where that fails."""
        folder = self._open_folder(kind, create=True)
        if folder < 0:
            return False
        payload = marshal.dumps(data)
        name = key.hex()
        temporary = f".{name}.{os.getpid()}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(file, "wb") as out:
                    out.write(_MAGIC + _digest(payload) + payload)
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                os.unlink(temporary, dir_fd=folder)
                raise
            self._prune(folder)
        except OSError as error:
            self.note = f"cannot write the cache in {self.root}/{kind}: {error.strerror}"
            return False
        finally:
            os.close(folder)
        return True

    def clear(self) -> int:
        """Removes every entry of every kind; returns how many."""
        removed = 0
        try:
            kinds = os.listdir(self.root)
        except OSError:
            return 0
        for kind in kinds:
            folder = self._open_folder(kind, create=False)
            if folder < 0:
                continue
            try:
                for name in os.listdir(folder):
                    os.unlink(name, dir_fd=folder)
                    removed += 1
            except OSError as error:
                self.note = f"cannot clear {self.root}/{kind}: {error.strerror}"
            finally:
                os.close(folder)
        return removed

    def folder(self, kind: str) -> str | None:
        """The path of a private folder for files that others manage; ``None`` where it cannot be trusted."""
        descriptor = self._open_folder(kind, create=True)
        if descriptor < 0:
            return None
        os.close(descriptor)
        return os.path.join(self.root, kind)

    def _open_folder(self, kind: str, create: bool) -> int:
        """A descriptor of a kind's folder that is ours alone, or -1."""
        if not self.enabled:
            return -1
        path = os.path.join(self.root, kind)
        try:
            for folder in (self.root, path):
                if create:
                    os.makedirs(folder, mode=0o700, exist_ok=True)
                problem = _foreign(os.lstat(folder), "folder")
                if problem:
                    self.note = f"the cache is not used: {folder} {problem}"
                    return -1
            return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        except OSError as error:
            self.note = f"the cache is not used: {path}: {error.strerror}"
            return -1

    def _read(self, folder: int, name: str) -> Any | None:
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        except FileNotFoundError:
            return None
        except OSError as error:
            self.note = f"a cache entry is not used: {self.root}: {error.strerror}"
            return None
        with os.fdopen(file, "rb") as source:
            problem = _foreign(os.fstat(file), "file")
            if problem:
                self.note = f"a cache entry is not used: it {problem}"
                return None
            data = source.read()
        start = len(_MAGIC) + _DIGEST
        if data[: len(_MAGIC)] != _MAGIC or _digest(data[start:]) != data[len(_MAGIC) : start]:
            self.note = "a cache entry is not used: it is damaged or from another version"
            return None
        try:
            return marshal.loads(data[start:])
        except (EOFError, ValueError, TypeError):
            self.note = "a cache entry is not used: it cannot be decoded"
            return None

    def _prune(self, folder: int) -> None:
        names = os.listdir(folder)
        if len(names) <= _LIMIT:
            return
        aged = []
        for name in names:
            try:
                aged.append((os.stat(name, dir_fd=folder).st_mtime_ns, name))
            except FileNotFoundError:
                continue
        for _, name in sorted(aged)[: len(aged) - _LIMIT * 3 // 4]:
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                continue


def _foreign(status: os.stat_result, what: str) -> str:
    """Why a file or folder must not be trusted, ``""`` when it may."""
    expected = stat.S_ISDIR if what == "folder" else stat.S_ISREG
    if not expected(status.st_mode):
        return f"is no {what}"
    if status.st_uid != os.geteuid():
        return f"belongs to user {status.st_uid}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "can be written by others"
    return ""
