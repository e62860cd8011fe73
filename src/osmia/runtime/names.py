"""Names for addresses: kernel and user stacks of a session, remembered for processes that have ended."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from osmia.symbols.kernel import KernelSymbols
    from osmia.symbols.process import ProcessSymbols, SymbolCache

_REFUSED = (-12, -17)
"""What a stack map answers when it has no room (ENOMEM), or another stack in the place (EEXIST)."""
_KEPT = 1_024
"""Processes whose address spaces are remembered at most; the oldest goes first."""


class StackNames:
    """Resolves stacks that a stack trace map numbers.

    :ivar unnamed: stacks that could not be read, because the map dropped them or the process ended unseen.
    """

    def __init__(self) -> None:
        self.unnamed = 0
        self._kernel: KernelSymbols | None = None
        self._cache: SymbolCache | None = None
        self._processes: dict[int, ProcessSymbols | None] = {}

    def remember(self, pid: int) -> None:
        """Reads a process's address space now, so that its stacks can be named after it has ended."""
        from osmia.diagnostics import SymbolError
        from osmia.symbols.process import ProcessSymbols, SymbolCache

        known = self._processes.get(pid)
        if known is not None:
            known.refresh()
            return
        if self._cache is None:
            self._cache = SymbolCache()
        try:
            self._processes[pid] = ProcessSymbols.snapshot(pid, cache=self._cache)
        except SymbolError:
            self._processes.setdefault(pid, None)
        while len(self._processes) > _KEPT:
            oldest = self._processes.pop(next(iter(self._processes)))
            if oldest is not None:
                oldest.close()

    def folded(self, stacks: Any, pid: int, user: int, kernel: int) -> list[str]:
        """Frame names from the outermost in: the user's, then the kernel's with ``_[k]``; below 0 is no stack."""
        frames: list[str] = []
        if user >= 0:
            frames += self._user(stacks, pid, user)
        elif user in _REFUSED:
            self.unnamed += 1
            frames.append("[lost user stack]")
        if kernel >= 0:
            frames += self._kernel_names(stacks, kernel)
        elif kernel in _REFUSED:
            self.unnamed += 1
            frames.append("[lost kernel stack]_[k]")
        return frames or ["[no stack]"]

    def close(self) -> None:
        """Frees the descriptors held for remembered processes."""
        for process in self._processes.values():
            if process is not None:
                process.close()
        self._processes.clear()

    def _user(self, stacks: Any, pid: int, number: int) -> list[str]:
        addresses = stacks.get(number)
        if not addresses:
            self.unnamed += 1
            return ["[lost user stack]"]
        if pid not in self._processes:
            self.remember(pid)
        process = self._processes.get(pid)
        if process is None:
            self.unnamed += 1
            return [f"{address:#x}" for address in reversed(addresses)]
        from osmia.symbols.stacks import user_frames

        return _labels(user_frames(addresses, process))

    def _kernel_names(self, stacks: Any, number: int) -> list[str]:
        addresses = stacks.get(number)
        if not addresses:
            self.unnamed += 1
            return ["[lost kernel stack]_[k]"]
        if self._kernel is None:
            from osmia.symbols.kernel import KernelSymbols

            self._kernel = KernelSymbols()
        from osmia.symbols.stacks import kernel_frames

        return _labels(kernel_frames(addresses, self._kernel))


def _labels(frames: Iterable[Any]) -> list[str]:
    return [frame.label.replace(";", ":") for frame in reversed(list(frames))]
