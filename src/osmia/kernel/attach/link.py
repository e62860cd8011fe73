"""Links: what holds a program attached."""

from __future__ import annotations

import errno
import os

from osmia.diagnostics.errors import AttachError
from osmia.kernel import syscall
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Self

    from osmia.kernel.inspect_links import LinkInfo
    from osmia.kernel.journal import Entry
    from osmia.kernel.program import Program


class Link:
    """An attachment. Closing it detaches the program, unless it is pinned; so does the end of the process.

    :ivar kind: the hook's kind. :ivar target: where, in words. :ivar program: what is attached.
    """

    def __init__(self, program: Program, kind: str, target: str) -> None:
        self.program = program
        self.kind = kind
        self.target = target

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self.attached else ", closed"
        return f"<{type(self).__name__} of '{self.program.name}' on {self.kind} {self.target}{state}>".replace(
            " >", ">"
        )

    @property
    def attached(self) -> bool:
        """Whether the link is open."""
        raise NotImplementedError

    def close(self) -> None:
        """Detaches and frees everything. Closing twice is fine."""
        raise NotImplementedError

    def detach(self) -> None:
        """Detaches at once, even if the link is pinned or somebody else holds it too."""
        self.close()

    def update(self, program: Program) -> None:
        """Puts another program in the place of this one, without a gap.

        :raises AttachError: HOOK018 where the kernel cannot do that.
        """
        raise self._cannot("replace the program of")

    def info(self) -> LinkInfo:
        """What the kernel says about the link. :raises AttachError: HOOK018 where there is no link of the kernel's."""
        raise self._cannot("ask the kernel about")

    def pin(self, path: str, *, temporary: bool = False) -> None:
        """Keeps the program attached under a name in a bpf file system, beyond this process.

        :raises AttachError: HOOK018 where there is no link of the kernel's. :raises LoadError: KRN024, KRN025.
        """
        raise self._cannot("pin")

    def _cannot(self, doing: str) -> AttachError:
        return AttachError(
            "HOOK018",
            f"cannot {doing} the attachment of '{clean(self.program.name)}' to {self.kind} {clean(self.target)}",
            errno=errno.EOPNOTSUPP,
            hint="the kernel holds it without a link object, or this kind of link cannot do that",
        )


class BpfLink(Link):
    """A link object of the kernel (Linux 5.7)."""

    def __init__(self, program: Program, kind: str, target: str, fd: int) -> None:
        super().__init__(program, kind, target)
        self.fd = fd
        self._pins: list[Entry] = []

    @property
    def attached(self) -> bool:
        return self.fd >= 0

    def fileno(self) -> int:
        """The link's descriptor. :raises AttachError: HOOK019 when it is closed."""
        if self.fd < 0:
            raise AttachError("HOOK019", f"the link of '{clean(self.program.name)}' is closed", errno=errno.EBADF)
        return self.fd

    def close(self) -> None:
        for pin in self._pins:
            pin.remove()
        self._pins.clear()
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)

    def detach(self) -> None:
        if self.fd < 0:
            return
        try:  # noqa: SIM105
            syscall.link_detach(self.fd)
        except OSError:
            pass  # kinds that cannot be detached end with their last descriptor
        self.close()

    def update(self, program: Program) -> None:
        try:
            syscall.link_update(self.fileno(), program.fileno(), self.program.fd if self.program.fd >= 0 else 0)
        except OSError as error:
            refused = self._cannot("replace the program of")
            refused.details = str(error)
            refused.errno = error.errno or 0
            raise refused from None
        self.program = program

    def info(self) -> LinkInfo:
        from osmia.kernel.inspect_links import read_link

        return read_link(self.fileno())

    @property
    def id(self) -> int:
        """The link's number in the kernel."""
        return self.info().id

    def pin(self, path: str, *, temporary: bool = False) -> None:
        from osmia.kernel import pins

        record = pins.pin(self.fileno(), path, f"link of '{self.program.name}'", temporary=temporary)
        if record is not None:
            self._pins.append(record)


class PerfLink(Link):
    """A perf event that carries a program, on kernels without links for it (before 5.15)."""

    def __init__(self, program: Program, kind: str, target: str, fd: int) -> None:
        super().__init__(program, kind, target)
        self.fd = fd

    @property
    def attached(self) -> bool:
        return self.fd >= 0

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


class CalledLink(Link):
    """An attachment that is undone by a call; the journal undoes it if the process cannot.

    :ivar entry: its journal entry, None where the attachment ends with the process anyway.
    """

    def __init__(
        self,
        program: Program,
        kind: str,
        target: str,
        undo: Callable[[], None],
        entry: Entry | None = None,
        replace: Callable[[Any], None] | None = None,
    ) -> None:
        super().__init__(program, kind, target)
        self._undo: Callable[[], None] | None = undo
        self._replace = replace
        self.entry = entry

    @property
    def attached(self) -> bool:
        return self._undo is not None

    def close(self) -> None:
        undo, self._undo = self._undo, None
        if undo is None:
            return
        undo()
        if self.entry is not None:
            self.entry.forget()

    def update(self, program: Program) -> None:
        if self._replace is None:
            raise self._cannot("replace the program of")
        self._replace(program)
        self.program = program


class LinkGroup(Link):
    """Several links that belong together: one event on every CPU, one program on many places."""

    def __init__(self, program: Program, kind: str, target: str, links: Sequence[Link]) -> None:
        super().__init__(program, kind, target)
        self.links = list(links)

    def __len__(self) -> int:
        return len(self.links)

    @property
    def attached(self) -> bool:
        return any(link.attached for link in self.links)

    def close(self) -> None:
        for link in self.links:
            link.close()

    def detach(self) -> None:
        for link in self.links:
            link.detach()

    def update(self, program: Program) -> None:
        for link in self.links:
            link.update(program)
        self.program = program


def attach_all(
    program: Program, kind: str, target: str, makers: Sequence[Callable[[], Link]], *, single: bool = True
) -> Link:
    """Makes every link, or none: when one fails, those before it are closed again.

    :param single: give one link by itself instead of a group of one.
    """
    links: list[Link] = []
    try:
        for make in makers:
            links.append(make())
    except BaseException:
        for link in links:
            link.close()
        raise
    return links[0] if single and len(links) == 1 else LinkGroup(program, kind, target, links)
