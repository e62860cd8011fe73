"""Probing hooks of network devices, in a network namespace that nobody else sees and that goes away at once."""

from __future__ import annotations

import errno
import os

from osmia.kernel import release, syscall
from osmia.kernel.probe_hooks import asked, attached, not_tried, since, unloaded
from osmia.kernel.probe_rows import HOOK, NO, UNKNOWN, YES, Row, absent, answered, config, yes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from osmia.kernel.probe_programs import Loader

    T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_LOOPBACK = 1
_NO_DEVICE = 0x7FFFFFFF
_GENERIC = 1 << 1  # XDP_FLAGS_SKB_MODE
_RIGHTS = ("bpf", "net_admin")
# Build options of the older way to attach to tc, with the modules that they may be.
_CLSACT = (("CONFIG_NET_SCH_INGRESS", "sch_ingress"), ("CONFIG_NET_CLS_BPF", "cls_bpf"))


def hooks(loader: Loader) -> list[Row]:
    """Rows for XDP, tc and netfilter."""
    programs = {"xdp": loader.open("xdp", "xdp" if release.has((5, 9)) else "")[0], "tc": loader.open("sched_cls")[0]}
    try:
        tried = apart(lambda: _try(programs))
    finally:
        for fd in programs.values():
            if fd >= 0:
                os.close(fd)
    if isinstance(tried, OSError):
        tried = dict.fromkeys(("xdp", "xdp_link", "clsact"), -1)
    rows = [
        _xdp(loader, "xdp", programs["xdp"], tried["xdp"]),
        _xdp(loader, "xdp_link", programs["xdp"], tried["xdp_link"]),
    ]
    tcx = _tcx(loader)
    clsact = _clsact(loader, programs["tc"], tried["clsact"])
    rows += [_tc(tcx, clsact), tcx, clsact]
    rows.append(
        attached(
            loader, "netkit", since("netkit"), "sched_cls", "netkit_primary",
            lambda fd: syscall.link_create(fd, _NO_DEVICE, 54), (errno.ENODEV,), ("CONFIG_NETKIT",), _RIGHTS,
        )
    )  # fmt: skip
    rows.append(
        attached(
            loader, "netfilter", since("netfilter"), "netfilter", "netfilter",
            lambda fd: syscall.link_create(fd, 0, 45), (errno.EAFNOSUPPORT,), (), _RIGHTS,
        )
    )  # fmt: skip
    return rows


def apart(work: Callable[[], T]) -> T | OSError:
    """Runs something in a network namespace of its own, whose one device is ``lo``, switched off.

    A thread enters the namespace and ends with it. The ``OSError`` is that of making one (``EPERM``: CAP_SYS_ADMIN).
    """
    from threading import Thread

    done: list[T | OSError] = []

    def body() -> None:
        try:
            syscall.unshare(_CLONE_NEWNET)
        except OSError as error:
            done.append(error)
            return
        done.append(work())

    thread = Thread(target=body, name="osmia-probe")
    thread.start()
    thread.join()
    return done[0] if done else OSError(errno.EIO, os.strerror(errno.EIO))


def _try(programs: dict[str, int]) -> dict[str, int]:
    """What attaching to the namespace's own device answers: 0 or an error's number, by row."""
    from osmia.abi import attach_types
    from osmia.kernel.netlink import Route

    xdp, tc = programs["xdp"], programs["tc"]

    def by_netlink(fd: int) -> None:
        with Route() as route:
            route.set_xdp(_LOOPBACK, fd, _GENERIC)
            route.set_xdp(_LOOPBACK, -1, _GENERIC)

    def by_qdisc(fd: int) -> None:
        with Route() as route:
            route.add_clsact(_LOOPBACK)
            route.add_filter(_LOOPBACK, "ingress", fd, "osmia_probe")

    found = {"xdp": -1, "xdp_link": -1, "clsact": -1}
    if xdp >= 0:
        found["xdp"] = asked(by_netlink, xdp)
        number = attach_types.number("xdp")
        found["xdp_link"] = asked(lambda fd: syscall.link_create(fd, _LOOPBACK, number), xdp)
    if tc >= 0 and not _would_load_module():
        found["clsact"] = asked(by_qdisc, tc)
    return found


def _would_load_module() -> bool:
    """Whether trying tc's older way would make the kernel load a module, which would stay."""
    return any(config.get(option) == "m" and not os.path.isdir(f"/sys/module/{module}") for option, module in _CLSACT)


def _xdp(loader: Loader, name: str, program: int, number: int) -> Row:
    version = since("xdp") if name == "xdp" else since("xdp_link")
    if program < 0:
        return unloaded(loader, name, version, "xdp", -program)
    if number < 0:
        return _unseen(name, version)
    return answered(HOOK, name, version, number, what="cannot attach XDP", needs=_RIGHTS, options=("CONFIG_NET",))


def _tcx(loader: Loader) -> Row:
    from osmia.abi import attach_types

    number = attach_types.number("tcx_ingress")
    return attached(
        loader, "tcx", since("tcx"), "sched_cls", "tcx_ingress" if release.has(since("tcx")) else "",
        lambda fd: syscall.link_create(fd, _NO_DEVICE, number), (errno.ENODEV,), ("CONFIG_NET_XGRESS",), _RIGHTS,
    )  # fmt: skip


def _clsact(loader: Loader, program: int, number: int) -> Row:
    version = since("clsact")
    options = tuple(option for option, _ in _CLSACT)
    if program < 0:
        return unloaded(loader, "clsact", version, "sched_cls", -program)
    if number < 0 and _would_load_module():
        return yes(HOOK, "clsact", version, "as modules, which the kernel loads when they are first used")
    if number < 0:
        off = config.missing(options)
        return absent(HOOK, "clsact", version, options=(off,)) if off else _unseen("clsact", version)
    return answered(
        HOOK, "clsact", version, number, what="cannot add a filter to tc", needs=("net_admin",), options=options
    )


def _tc(tcx: Row, clsact: Row) -> Row:
    """The hook itself: by links where the kernel has them, else by a qdisc and a filter."""
    version = clsact.version
    if tcx.ok:
        return yes(HOOK, "tc", version, "by tcx links")
    if clsact.status in (YES, UNKNOWN):
        return Row(HOOK, "tc", clsact.status, version, clsact.reason or "by the clsact qdisc", clsact.remedy)
    nearer = clsact if clsact.status != NO or tcx.status == NO else tcx
    return Row(HOOK, "tc", nearer.status, version, nearer.reason, nearer.remedy, nearer.cause)


def _unseen(name: str, version: tuple[int, int]) -> Row:
    return not_tried(
        name, version, "programs load; attaching was not tried: a private network namespace takes CAP_SYS_ADMIN",
        "run `osmia doctor` as root to have it tried",
    )  # fmt: skip
