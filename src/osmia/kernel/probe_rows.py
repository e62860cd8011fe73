"""What a probe found out: rows, and the words for what is missing or forbidden."""

from __future__ import annotations

import errno

from osmia.kernel import refusals, release

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    Version = tuple[int, int]

YES, NO, FORBIDDEN, UNKNOWN = "yes", "no", "forbidden", "unknown"
STATUSES = (YES, NO, FORBIDDEN, UNKNOWN)
PROGRAM_TYPE, MAP_TYPE, HELPER, HOOK = "program type", "map type", "helper", "hook"
KERNEL, FEATURE, RIGHT, SETTING = "kernel", "feature", "right", "setting"
AREAS = (RIGHT, SETTING, KERNEL, HOOK, PROGRAM_TYPE, MAP_TYPE, HELPER, FEATURE)


class Row:
    """What one probe found out.

    :ivar area: one of :data:`AREAS`. :ivar name: the thing, by its name in the tables of ``osmia.abi`` or, for hooks,
        in ``osmia.lang.hooks``.
    :ivar status: ``yes``: works here, for this process; ``no``: this kernel does not have it, or it is switched off;
        ``forbidden``: this process may not, or the machine's owner forbids it; ``unknown``: it could not be tried.
    :ivar version: kernel release it came in, None where no single one says.
    :ivar reason: one line: why, or what was found. :ivar remedy: what to do about it; empty for ``yes``.
    :ivar cause: what other than its age explains a ``no``: the build option that is not set (``CONFIG_BPF_LSM``), or in
        words; else empty.
    """

    __slots__ = ("area", "cause", "name", "reason", "remedy", "status", "version")

    def __init__(
        self,
        area: str,
        name: str,
        status: str,
        version: Version | None = None,
        reason: str = "",
        remedy: str = "",
        cause: str = "",
    ) -> None:
        self.area = area
        self.name = name
        self.status = status
        self.version = version
        self.reason = reason
        self.remedy = remedy
        self.cause = cause

    @property
    def ok(self) -> bool:
        """Whether the status is ``yes``."""
        return self.status == YES

    def plain(self) -> dict[str, Any]:
        """The row for JSON; the version as ``"5.8"`` or None."""
        return {
            "area": self.area, "name": self.name, "status": self.status,
            "version": None if self.version is None else release.text(self.version),
            "reason": self.reason, "remedy": self.remedy,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"Row({self.area} {self.name!r}: {self.status}{', ' + self.reason if self.reason else ''})"


class Config:
    """The running kernel's build options, read when first asked for."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self._settings = settings

    def forget(self) -> None:
        """Reads them again next time."""
        self._settings = None

    def get(self, option: str) -> str | None:
        """``y``, ``m``, a value, ``""`` for one that is not set; None where the configuration cannot be read."""
        if self._settings is None:
            from osmia.diagnostics.errors import OsmiaError
            from osmia.kernel import kconfig

            try:
                self._settings = kconfig.read()
            except (OsmiaError, OSError, EOFError, ValueError):
                self._settings = {}
        return self._settings.get(option, "") if self._settings else None

    def missing(self, options: Iterable[str]) -> str:
        """The first of the options that is known not to be set, else empty."""
        return next((option for option in options if self.get(option) == ""), "")


config = Config()
"""Of the running kernel."""


def yes(area: str, name: str, version: Version | None = None, reason: str = "") -> Row:
    """It works."""
    return Row(area, name, YES, version, reason)


def absent(
    area: str,
    name: str,
    version: Version | None,
    number: int = 0,
    options: Sequence[str] = (),
    *,
    reason: str = "",
    remedy: str = "",
) -> Row:
    """The kernel does not have it: too old, not configured, or for a reason of its own.

    :param number: what the kernel answered. :param options: the build options that it takes.
    """
    if version is not None and not release.has(version):
        wanted = release.text(version)
        return Row(area, name, NO, version, f"came with Linux {wanted}; {_this()}", f"run Linux {wanted} or later")
    off = config.missing(options)
    if off:
        return Row(
            area, name, NO, version, reason or f"this kernel was built without {off}",
            remedy or f"run a kernel with {off}=y", off,
        )  # fmt: skip
    if not reason:
        reason = f"the kernel answers: {refusals.error_text(number)}" if number else "this kernel does not have it"
    if not remedy:
        remedy = f"run a kernel with {' and '.join(f'{option}=y' for option in options)}" if options else _any_kernel()
    return Row(area, name, NO, version, reason, remedy)


def forbidden(area: str, name: str, version: Version | None, what: str, needs: Sequence[str], kind: str = "") -> Row:
    """The kernel answered ``EPERM`` or ``EACCES``: which right is missing, or whose policy it is.

    :param what: what could not be done. :param needs: capabilities it takes, as ``bpf``. :param kind: a program type.
    """
    error = refusals.not_permitted(what, needs, kind)
    reason = error.message.removeprefix(f"{what}: ")
    if version is not None and not release.has(version):
        wanted = release.text(version)
        return Row(
            area, name, NO, version, f"came with Linux {wanted}; {_this()} (not tried: {reason})",
            f"run Linux {wanted} or later",
        )  # fmt: skip
    remedy = error.hint or ""
    if error.code == "KRN002":  # nothing is missing: some policy
        remedy = "ask the machine's owner (a security module, seccomp or the kernel's build refuses it)"
    return Row(area, name, FORBIDDEN, version, reason, remedy)


def answered(
    area: str,
    name: str,
    version: Version | None,
    number: int,
    *,
    what: str,
    needs: Sequence[str] = ("bpf",),
    options: Sequence[str] = (),
    kind: str = "",
    good: Sequence[int] = (),
) -> Row:
    """The row for what the kernel answered: 0, or an error's number.

    :param good: errors that only come once the kernel knows the thing, such as ``EBADF`` for a target that is none.
    """
    if not number or number in good:
        return yes(area, name, version)
    if number in (errno.EPERM, errno.EACCES):
        if config.missing(options):  # more rights would not help
            return absent(area, name, version, number, options)
        return forbidden(area, name, version, what, needs, kind)
    if number == errno.ENOSYS:
        return Row(
            area, name, NO, version, "there is no bpf system call",
            "run a kernel with CONFIG_BPF_SYSCALL=y, outside of sandboxes that hide the call", "CONFIG_BPF_SYSCALL",
        )  # fmt: skip
    if number in (errno.ENOMEM, errno.EAGAIN, errno.EINTR, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EBUSY):
        return Row(
            area, name, UNKNOWN, version, f"could not be tried: {refusals.error_text(number)}",
            "run `osmia doctor` again when the machine has room for it",
        )  # fmt: skip
    return absent(area, name, version, number, options)


def contradictions(rows: Iterable[Row], running: Version | None = None) -> list[str]:
    """Rows that cannot be true together with the version in their tables, in words; for mainline kernels.

    What came later than the running kernel cannot be there; what came before must be there, unless the row's ``cause``
    says why not. Distributions carry features back, so on their kernels the first kind proves nothing.
    """
    now = running or release.running()[:2]
    found = []
    for row in rows:
        if row.version is None:
            continue
        wanted = release.text(row.version)
        if row.status == YES and row.version > now:
            found.append(f"{row.area} {row.name} works, but the tables say that it came with Linux {wanted}")
        if row.status == NO and row.version <= now and not row.cause:
            found.append(
                f"{row.area} {row.name} is missing, but the tables say that it came with Linux {wanted}: {row.reason}"
            )
    return found


def _this() -> str:
    return f"this is {release.text(release.running()[:2])}"


def _any_kernel() -> str:
    return "try another kernel, built with all of BPF"
