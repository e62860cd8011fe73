"""Global variables of programs: maps of one entry that hold a data section."""

from __future__ import annotations

import errno
import mmap

from osmia.abi.map_types import MMAPABLE
from osmia.kernel.maps.keyed import ArrayMap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.object.layout import Layout


class GlobalData(ArrayMap):
    """A data section. Variables are read and written in place where the kernel can map it (Linux 5.5)."""

    def _set_up(self) -> None:
        super()._set_up()
        self._memory: mmap.mmap | None = None

    @property
    def read_only(self) -> bool:
        """Whether user space may no longer write: constants."""
        return self.spec is not None and self.spec.frozen

    def read(self, offset: int, layout: Layout) -> Any:
        """The value of a variable.

        :raises MapError: MAP006 when it is not inside of the section.
        """
        self._check(offset, layout)
        memory = self._mapped()
        if memory is not None:
            return layout.unpack(memory[offset : offset + layout.size])
        found = self.lookup_raw(bytes(4))
        if found is None:
            self._failed(errno.ENOENT, "look up", 0)
        return layout.unpack(found, offset)

    def write(self, offset: int, layout: Layout, value: Any) -> None:
        """Sets a variable. Programs see it at once; without a mapping, other variables may be set back to what they
        were a moment ago.

        :raises MapError: MAP005 (constant), MAP006 (the value does not fit, or not inside of the section).
        """
        self._check(offset, layout)
        if self.read_only:
            self._failed(errno.EPERM, "change a variable in")
        data = self._packed("value", layout, value)
        memory = self._mapped()
        if memory is not None:
            memory[offset : offset + layout.size] = data
            return
        found = bytearray(self.lookup_raw(bytes(4)) or bytes(self.value_size))
        found[offset : offset + layout.size] = data
        number = self.update_raw(bytes(4), bytes(found))
        if number:
            self._failed(number, "change a variable in")

    def memory(self) -> mmap.mmap | None:
        """The section itself, mapped; read-only for constants; None where the kernel cannot map it."""
        return self._mapped()

    def close(self) -> None:
        """See :meth:`Map.close`; unmaps the section."""
        memory, self._memory = self._memory, None
        if memory is not None:
            try:  # noqa: SIM105
                memory.close()
            except BufferError:
                pass  # somebody still holds a view: the pages go with it
        super().close()

    def _mapped(self) -> mmap.mmap | None:
        fd = self.fileno()
        if self._memory is None and self.flags & MMAPABLE:
            protection = mmap.PROT_READ if self.read_only else mmap.PROT_READ | mmap.PROT_WRITE
            try:
                self._memory = mmap.mmap(fd, self.value_size, mmap.MAP_SHARED, protection)
            except (OSError, ValueError) as error:
                self._failed(getattr(error, "errno", 0) or errno.EINVAL, "map")
        return self._memory

    def _check(self, offset: int, layout: Layout) -> None:
        if offset < 0 or offset + layout.size > self.value_size:
            from osmia.kernel.maps.problems import wrong_data

            raise wrong_data(
                self, "value", offset, ValueError(f"{layout} at this offset is outside of the {self.value_size} bytes")
            )
