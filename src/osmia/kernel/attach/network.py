"""Programs on network devices: XDP, tc, netkit; and on netfilter's hooks."""

from __future__ import annotations

import errno
from struct import pack

from osmia.abi import attach_types
from osmia.abi.uapi_net import (
    XDP_FLAGS_DRV_MODE,
    XDP_FLAGS_HW_MODE,
    XDP_FLAGS_REPLACE,
    XDP_FLAGS_SKB_MODE,
    XDP_FLAGS_UPDATE_IF_NOEXIST,
)
from osmia.diagnostics.errors import AttachError, LoadError, UnsupportedFeature
from osmia.diagnostics.text import clean
from osmia.kernel import journal, namespaces, release, syscall
from osmia.kernel.attach.link import BpfLink, CalledLink, Link
from osmia.kernel.attach.problems import check_type, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.kernel.netlink import Filter, Route
    from osmia.kernel.program import Program

XDP_MODES = {"": 0, "skb": XDP_FLAGS_SKB_MODE, "generic": XDP_FLAGS_SKB_MODE, "drv": XDP_FLAGS_DRV_MODE,
             "native": XDP_FLAGS_DRV_MODE, "hw": XDP_FLAGS_HW_MODE, "offload": XDP_FLAGS_HW_MODE}  # fmt: skip
_NEEDS = ("bpf", "net_admin")
_FAMILIES = {"ipv4": 2, "ipv6": 10, "inet": 1, "arp": 3, "netdev": 5, "bridge": 7}
_HOOKS = {"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to a network device (the target) or to a hook of netfilter.

    Options of all: ``netns`` (path, name or descriptor of the device's network namespace), ``ifindex`` (instead of a
    name), ``link`` (False: the older way without a link object, which is journalled).
    XDP: ``mode`` (``skb``, ``drv``, ``hw``; else the best that the driver has), ``replace`` (True: another's program;
    the older way only).
    tc: ``direction`` (``ingress``, ``egress``), ``priority`` and ``handle`` (the older way only). tcx is used from
    Linux 6.6 on, else a filter of the clsact qdisc, which is made if need be and goes with its last filter.
    netkit: ``side`` (``primary``, ``peer``).
    netfilter: ``family`` (``ipv4``, ``ipv6``...), ``hook`` (``prerouting``, ``input``...), ``priority``, ``flags``.

    :raises AttachError: HOOK006, HOOK009 (something is there), HOOK010 (no such device), HOOK011 (mode), HOOK015 to
        HOOK017, HOOK019 (namespace); permission errors.
    """
    check_type(program, kind)
    if kind == "netfilter":
        return _netfilter(program, target, options)
    with namespaces.inside(options.get("netns")):
        index, name = device(program, kind, target, options)
        if kind == "xdp":
            return _xdp(program, index, name, options)
        if kind == "netkit":
            return _netkit(program, index, name, options)
        return _tc(program, index, name, options)


def device(program: Program, kind: str, target: str, options: dict[str, Any]) -> tuple[int, str]:
    """Number and name of the device that a hook means. :raises AttachError: HOOK006, HOOK010."""
    import socket

    number = int(options.get("ifindex") or 0)
    try:
        if number:
            return number, socket.if_indextoname(number)
        if target:
            return socket.if_nametoindex(target), target
    except (OSError, ValueError, OverflowError):
        from osmia.diagnostics.text import did_you_mean

        names = [name for _, name in socket.if_nameindex()]
        raise AttachError(
            "HOOK010",
            f"there is no network device {clean(target) if target else number}",
            errno=errno.ENODEV,
            hint=did_you_mean(target, names) or "devices: " + ", ".join(names),
        ) from None
    raise AttachError(
        "HOOK006",
        f"no network device is given for '{clean(program.name)}' ({kind})",
        hint="name an interface, such as eth0; `ip link` lists them",
    )


# XDP


def _xdp(program: Program, index: int, name: str, options: dict[str, Any]) -> Link:
    mode = str(options.get("mode") or "")
    if mode not in XDP_MODES:
        raise AttachError("HOOK006", f"{clean(mode)!r} is no mode of XDP", hint="skb, drv or hw")
    if options.get("link", True) and release.has((5, 9)):
        try:
            fd = syscall.link_create(program.fileno(), index, attach_types.number("xdp"), XDP_MODES[mode])
        except OSError as error:
            raise _xdp_error(program, name, mode, error, "") from None
        return BpfLink(program, "xdp", name, fd)
    return _xdp_without_link(program, index, name, mode, bool(options.get("replace")))


def _xdp_without_link(program: Program, index: int, name: str, mode: str, replace: bool) -> Link:
    from osmia.kernel.netlink import NetlinkError, Route

    flags = XDP_MODES[mode]
    inode = namespaces.own_inode()
    entry = journal.record(
        "xdp", netns=inode, ifindex=index, device=name, flags=flags, prog_id=program.id, tag=program.info().tag
    )
    try:
        with Route() as route:
            route.set_xdp(index, program.fileno(), flags | (0 if replace else XDP_FLAGS_UPDATE_IF_NOEXIST))
    except NetlinkError as error:
        entry.forget()
        raise _xdp_error(program, name, mode, error, error.text) from None
    except BaseException:
        entry.forget()
        raise
    current = [program.id]

    def undo() -> None:
        remove_xdp(inode, index, flags, current[0])

    def change(other: Program) -> None:
        path = namespaces.find(inode)
        try:
            with namespaces.inside(path), Route() as route:
                if release.has((5, 7)):
                    route.set_xdp(index, other.fileno(), flags | XDP_FLAGS_REPLACE, program.fileno())
                else:
                    route.set_xdp(index, other.fileno(), flags)
        except NetlinkError as error:
            raise _xdp_error(other, name, mode, error, error.text) from None
        current[0] = other.id
        entry.change(prog_id=other.id, tag=other.info().tag)

    return CalledLink(program, "xdp", name, undo, entry, change)


def remove_xdp(inode: int, index: int, flags: int, prog_id: int) -> bool:
    """Takes a program off a device if it still is there; tells whether it was. :raises AttachError: HOOK017."""
    from osmia.kernel.netlink import NetlinkError, Route

    path = namespaces.find(inode)
    if path is None:
        return False
    try:
        with namespaces.inside(path), Route() as route:
            if route.xdp_of(index)[1] != prog_id:
                return False
            route.set_xdp(index, -1, flags)
            return True
    except NetlinkError as error:
        if error.errno == errno.ENODEV:
            return False
        raise _netlink_error(f"cannot take the XDP program off device {index}", error) from None


def _xdp_error(program: Program, name: str, mode: str, error: OSError, words: str) -> LoadError:
    number = error.errno or 0
    if number in (errno.EOPNOTSUPP, 524) or (number == errno.EINVAL and mode in ("drv", "hw")):
        return UnsupportedFeature(
            "HOOK011",
            f"the driver of {clean(name)} cannot run XDP programs" + (f" in mode {mode}" if mode else ""),
            errno=number,
            hint=clean(words) or "mode skb works with every driver",
        )
    if number in (errno.EINVAL, errno.E2BIG, errno.ERANGE) and words:
        return AttachError(
            "HOOK017", f"cannot attach '{clean(program.name)}' to xdp {clean(name)}: {clean(words)}", errno=number
        )
    hint = "a device has one XDP program; detach the other one" if number in (errno.EBUSY, errno.EEXIST) else None
    if number == errno.EINVAL:
        hint = "the packets of this device may not fit into a page (MTU), or the program is for a devmap or cpumap"
    return refused(program, "xdp", name, error, needs=_NEEDS, hint=hint)


# tc


def _tc(program: Program, index: int, name: str, options: dict[str, Any]) -> Link:
    direction = str(options.get("direction") or "")
    if direction not in ("ingress", "egress"):
        raise AttachError("HOOK006", f"tc needs a direction, ingress or egress, not {clean(direction)!r}")
    where = f"{direction} of {name}"
    if options.get("link", True) and release.has((6, 6)):
        try:
            number = attach_types.number(f"tcx_{direction}")
            fd = syscall.link_create(program.fileno(), index, number, 0, pack("=IIQ", 0, 0, 0))
        except OSError as error:
            raise refused(program, "tc", where, error, needs=_NEEDS) from None
        return BpfLink(program, "tc", where, fd)
    return _clsact(program, index, name, direction, int(options.get("priority") or 0), int(options.get("handle") or 0))


def _clsact(program: Program, index: int, name: str, direction: str, priority: int, handle: int) -> Link:
    from osmia.kernel.netlink import NetlinkError, Route

    inode = namespaces.own_inode()
    where = f"{direction} of {name}"
    with Route() as route:
        try:
            fresh = not route.has_clsact(index)
            entry = journal.record(
                "tc", netns=inode, ifindex=index, device=name, direction=direction, prog_id=program.id,
                tag=program.info().tag, qdisc=fresh,
            )  # fmt: skip
        except NetlinkError as error:
            raise _tc_error(program, where, error) from None
        try:
            made = route.add_clsact(index)
            try:
                found = route.add_filter(index, direction, program.fileno(), program.name, priority, handle)
            except BaseException:
                if made:
                    route.remove_clsact(index)
                raise
        except NetlinkError as error:
            entry.forget()
            raise _tc_error(program, where, error) from None
        except BaseException:
            entry.forget()
            raise
    current = [program.id]

    def undo() -> None:
        remove_filter(inode, index, direction, current[0], fresh)

    def change(other: Program) -> None:
        try:
            with namespaces.inside(namespaces.find(inode)), Route() as again:
                again.replace_filter(index, direction, other.fileno(), other.name, found)
        except NetlinkError as error:
            raise _tc_error(other, where, error) from None
        current[0] = other.id
        entry.change(prog_id=other.id, tag=other.info().tag)

    return CalledLink(program, "tc", where, undo, entry, change)


def remove_filter(inode: int, index: int, direction: str, prog_id: int, qdisc: bool) -> bool:
    """Takes a program's filter off a device, and the clsact qdisc if we made it and nobody else uses it.

    :return: whether the filter was there. :raises AttachError: HOOK017.
    """
    from osmia.kernel.netlink import NetlinkError, Route

    path = namespaces.find(inode)
    if path is None:
        return False
    removed = False
    try:
        with namespaces.inside(path), Route() as route:
            for found in route.filters(index, direction):
                if found.kind == "bpf" and found.prog_id == prog_id:
                    route.remove_filter(index, found)
                    removed = True
            if qdisc and not _others(route, index):
                route.remove_clsact(index)
    except NetlinkError as error:
        if error.errno in (errno.ENODEV, errno.ENOENT, errno.EINVAL):
            return removed  # the device or its qdisc went away
        raise _netlink_error(f"cannot remove the filter of device {index}", error) from None
    return removed


def _others(route: Route, index: int) -> list[Filter]:
    return route.filters(index, "ingress") + route.filters(index, "egress")


def _tc_error(program: Program, where: str, error: OSError) -> LoadError:
    words = clean(getattr(error, "text", ""))
    hint = words or None
    if error.errno in (errno.ENOENT, errno.EOPNOTSUPP) and not words:
        hint = "the kernel needs CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF (modules sch_ingress and cls_bpf)"
    return refused(program, "tc", where, error, needs=_NEEDS, hint=hint)


def _netlink_error(what: str, error: OSError) -> LoadError:
    if error.errno == errno.EPERM:
        from osmia.kernel import refusals

        return refusals.not_permitted(what, ("net_admin",))
    words = clean(getattr(error, "text", "")) or error.strerror
    return AttachError("HOOK017", f"{what}: {words}", errno=error.errno or 0)


# netkit and netfilter


def _netkit(program: Program, index: int, name: str, options: dict[str, Any]) -> Link:
    side = str(options.get("side") or "primary")
    if side not in ("primary", "peer"):
        raise AttachError("HOOK006", f"a netkit device has the sides primary and peer, not {clean(side)!r}")
    try:
        number = attach_types.number(f"netkit_{side}")
        fd = syscall.link_create(program.fileno(), index, number, 0, pack("=IIQ", 0, 0, 0))
    except OSError as error:
        hint = f"{clean(name)} must be the primary device of a netkit pair"
        raise refused(program, "netkit", name, error, needs=_NEEDS, since=(6, 7), hint=hint) from None
    return BpfLink(program, "netkit", f"{side} of {name}", fd)


def _netfilter(program: Program, target: str, options: dict[str, Any]) -> Link:
    family, hook = options.get("family", "ipv4"), options.get("hook") or target
    family_number = family if isinstance(family, int) else _FAMILIES.get(str(family), -1)
    hook_number = hook if isinstance(hook, int) else _HOOKS.get(str(hook), -1)
    if family_number < 0 or hook_number < 0:
        raise AttachError(
            "HOOK006",
            f"netfilter has no hook {clean(str(hook))!r} of family {clean(str(family))!r}",
            hint="families: " + ", ".join(_FAMILIES) + "; hooks: " + ", ".join(_HOOKS),
        )
    extra = pack("=IIiI", family_number, hook_number, int(options.get("priority") or 0), int(options.get("flags") or 0))
    where = f"{hook} of {family}"
    with namespaces.inside(options.get("netns")):
        try:
            fd = syscall.link_create(program.fileno(), 0, attach_types.number("netfilter"), 0, extra)
        except OSError as error:
            hint = "every attachment to a hook needs a priority of its own, other than the least and the greatest"
            raise refused(program, "netfilter", where, error, needs=_NEEDS, since=(6, 4), hint=hint) from None
    return BpfLink(program, "netfilter", where, fd)
