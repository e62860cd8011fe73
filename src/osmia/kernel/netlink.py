"""The little of rtnetlink that attaching needs: XDP on a device, the clsact qdisc, filters that are programs."""

from __future__ import annotations

import os
import socket
from struct import calcsize, pack, unpack_from

from osmia.abi.uapi_net import (
    IFLA_IFNAME,
    IFLA_XDP,
    IFLA_XDP_ATTACHED,
    IFLA_XDP_EXPECTED_FD,
    IFLA_XDP_FD,
    IFLA_XDP_FLAGS,
    IFLA_XDP_PROG_ID,
    NETLINK_EXT_ACK,
    NLA_F_NESTED,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_ECHO,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    RTM_DELQDISC,
    RTM_DELTFILTER,
    RTM_GETLINK,
    RTM_GETQDISC,
    RTM_GETTFILTER,
    RTM_NEWQDISC,
    RTM_NEWTFILTER,
    RTM_SETLINK,
    TC_H_CLSACT,
    TC_H_MIN_EGRESS,
    TC_H_MIN_INGRESS,
    TCA_BPF_FD,
    TCA_BPF_FLAG_ACT_DIRECT,
    TCA_BPF_FLAGS,
    TCA_BPF_ID,
    TCA_BPF_NAME,
    TCA_BPF_TAG,
    TCA_KIND,
    TCA_OPTIONS,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_SOL_NETLINK = 270
_HEADER = "=IHHII"
_IFINFO = "=BxHiII"
_TCMSG = "=BxxxiIII"
_CLSACT_HANDLE = 0xFFFF0000
_ETH_P_ALL = 3
PARENTS = {"ingress": _CLSACT_HANDLE | TC_H_MIN_INGRESS, "egress": _CLSACT_HANDLE | TC_H_MIN_EGRESS}


class NetlinkError(OSError):
    """What the kernel answered; ``text`` holds its own words, if it had any."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(number, os.strerror(number))
        self.text = text


class Filter:
    """A filter of tc that is a program."""

    __slots__ = ("handle", "kind", "name", "parent", "priority", "prog_id", "tag")

    def __init__(
        self, kind: str, parent: int, priority: int, handle: int, prog_id: int = 0, tag: str = "", name: str = ""
    ) -> None:
        self.kind = kind
        self.parent = parent
        self.priority = priority
        self.handle = handle
        self.prog_id = prog_id
        self.tag = tag
        self.name = name


def attribute(kind: int, data: bytes) -> bytes:
    """One attribute, padded."""
    return pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes of a message's tail: number and data."""
    at = 0
    while at + 4 <= len(data):
        size, kind = unpack_from("=HH", data, at)
        if size < 4:
            return
        yield kind & 0x3FFF, data[at + 4 : at + size]
        at += size + 3 & ~3


class Route:
    """A conversation with rtnetlink in this thread's network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, NETLINK_EXT_ACK, 1)
        except OSError:
            pass  # before Linux 4.12: errors without words

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def ask(self, kind: int, flags: int, body: bytes) -> list[tuple[int, bytes]]:
        """Sends a request and gives the answers: message type and body. :raises NetlinkError:"""
        self._sequence += 1
        flags |= NLM_F_REQUEST | (0 if flags & NLM_F_DUMP == NLM_F_DUMP else NLM_F_ACK)
        self._socket.send(pack(_HEADER, 16 + len(body), kind, flags, self._sequence, 0) + body)
        found: list[tuple[int, bytes]] = []
        while True:
            data = self._socket.recv(1 << 18)
            at = 0
            while at + 16 <= len(data):
                size, answer, answer_flags, sequence, _ = unpack_from(_HEADER, data, at)
                payload = data[at + 16 : at + size]
                at += size + 3 & ~3
                if sequence != self._sequence:
                    continue
                if answer == NLMSG_ERROR:
                    number = -unpack_from("=i", payload)[0]
                    if number:
                        raise NetlinkError(number, _words(payload, answer_flags))
                    return found
                if answer == NLMSG_DONE:
                    return found
                found.append((answer, payload))

    # XDP

    def set_xdp(self, ifindex: int, prog_fd: int, flags: int, expected_fd: int = -1) -> None:
        """Puts a program on a device, or takes it off with ``prog_fd`` -1. :raises NetlinkError:"""
        inner = attribute(IFLA_XDP_FD, pack("=i", prog_fd)) + attribute(IFLA_XDP_FLAGS, pack("=I", flags))
        if expected_fd >= 0:
            inner += attribute(IFLA_XDP_EXPECTED_FD, pack("=i", expected_fd))
        body = pack(_IFINFO, 0, 0, ifindex, 0, 0) + attribute(IFLA_XDP | NLA_F_NESTED, inner)
        self.ask(RTM_SETLINK, 0, body)

    def xdp_of(self, ifindex: int) -> tuple[int, int]:
        """How a device's XDP program is attached (``XDP_ATTACHED_*``, 0 for none) and the program's id."""
        mode = number = 0
        for _, payload in self.ask(RTM_GETLINK, 0, pack(_IFINFO, 0, 0, ifindex, 0, 0)):
            for kind, data in attributes(payload[calcsize(_IFINFO) :]):
                if kind == IFLA_XDP:
                    for inner, value in attributes(data):
                        if inner == IFLA_XDP_ATTACHED:
                            mode = value[0]
                        elif inner == IFLA_XDP_PROG_ID:
                            number = unpack_from("=I", value)[0]
        return mode, number

    def name_of(self, ifindex: int) -> str:
        """The name of a device, empty when there is none."""
        try:
            answers = self.ask(RTM_GETLINK, 0, pack(_IFINFO, 0, 0, ifindex, 0, 0))
        except NetlinkError:
            return ""
        for _, payload in answers:
            for kind, data in attributes(payload[calcsize(_IFINFO) :]):
                if kind == IFLA_IFNAME:
                    return data.rstrip(b"\0").decode("utf-8", "backslashreplace")
        return ""

    # tc

    def has_clsact(self, ifindex: int) -> bool:
        """Whether a device has the clsact qdisc."""
        for _, payload in self.ask(RTM_GETQDISC, NLM_F_DUMP, pack(_TCMSG, 0, ifindex, 0, 0, 0)):
            if unpack_from(_TCMSG, payload)[1] != ifindex:
                continue
            for kind, data in attributes(payload[calcsize(_TCMSG) :]):
                if kind == TCA_KIND and data.rstrip(b"\0") == b"clsact":
                    return True
        return False

    def add_clsact(self, ifindex: int) -> bool:
        """Gives a device the clsact qdisc; False when it had it already. :raises NetlinkError:"""
        body = pack(_TCMSG, 0, ifindex, _CLSACT_HANDLE, TC_H_CLSACT, 0) + attribute(TCA_KIND, b"clsact\0")
        try:
            self.ask(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body)
        except NetlinkError as error:
            if self.has_clsact(ifindex):
                return False
            raise error from None
        return True

    def remove_clsact(self, ifindex: int) -> None:
        """Takes the clsact qdisc and all its filters away. :raises NetlinkError:"""
        body = pack(_TCMSG, 0, ifindex, _CLSACT_HANDLE, TC_H_CLSACT, 0) + attribute(TCA_KIND, b"clsact\0")
        self.ask(RTM_DELQDISC, 0, body)

    def add_filter(
        self, ifindex: int, direction: str, prog_fd: int, name: str, priority: int = 0, handle: int = 0
    ) -> Filter:
        """Adds a program that decides by itself (direct action); the kernel chooses what is 0. :raises NetlinkError:"""
        body = self._filter(ifindex, direction, prog_fd, name, priority, handle)
        flags = NLM_F_CREATE | NLM_F_ECHO | NLM_F_EXCL
        for kind, payload in self.ask(RTM_NEWTFILTER, flags, body):
            if kind == RTM_NEWTFILTER:
                _, _, handle, parent, info = unpack_from(_TCMSG, payload)
                return Filter("bpf", parent, info >> 16, handle)
        return Filter("bpf", PARENTS[direction], priority, handle)

    def replace_filter(self, ifindex: int, direction: str, prog_fd: int, name: str, old: Filter) -> None:
        """Puts another program in a filter's place. :raises NetlinkError:"""
        body = self._filter(ifindex, direction, prog_fd, name, old.priority, old.handle)
        self.ask(RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_REPLACE, body)

    def _filter(self, ifindex: int, direction: str, prog_fd: int, name: str, priority: int, handle: int) -> bytes:
        info = priority << 16 | socket.htons(_ETH_P_ALL)
        options = (
            attribute(TCA_BPF_FD, pack("=I", prog_fd))
            + attribute(TCA_BPF_NAME, name.encode()[:200] + b"\0")
            + attribute(TCA_BPF_FLAGS, pack("=I", TCA_BPF_FLAG_ACT_DIRECT))
        )
        return (
            pack(_TCMSG, 0, ifindex, handle, PARENTS[direction], info)
            + attribute(TCA_KIND, b"bpf\0")
            + attribute(TCA_OPTIONS | NLA_F_NESTED, options)
        )

    def remove_filter(self, ifindex: int, found: Filter) -> None:
        """Takes a filter away. :raises NetlinkError:"""
        info = found.priority << 16 | socket.htons(_ETH_P_ALL)
        body = pack(_TCMSG, 0, ifindex, found.handle, found.parent, info) + attribute(
            TCA_KIND, found.kind.encode() + b"\0"
        )
        self.ask(RTM_DELTFILTER, 0, body)

    def filters(self, ifindex: int, direction: str) -> list[Filter]:
        """All filters in one direction. :raises NetlinkError:"""
        body = pack(_TCMSG, 0, ifindex, 0, PARENTS[direction], 0)
        found = []
        for _, payload in self.ask(RTM_GETTFILTER, NLM_F_DUMP, body):
            _, _, handle, parent, info = unpack_from(_TCMSG, payload)
            item = Filter("", parent, info >> 16, handle)
            for kind, data in attributes(payload[calcsize(_TCMSG) :]):
                if kind == TCA_KIND:
                    item.kind = data.rstrip(b"\0").decode("ascii", "replace")
                elif kind == TCA_OPTIONS and item.kind == "bpf":
                    _describe(item, data)
            if handle:
                found.append(item)
        return found


def _describe(item: Filter, data: bytes) -> None:
    for kind, value in attributes(data):
        if kind == TCA_BPF_ID:
            item.prog_id = unpack_from("=I", value)[0]
        elif kind == TCA_BPF_TAG:
            item.tag = value.hex()
        elif kind == TCA_BPF_NAME:
            item.name = value.rstrip(b"\0").decode("utf-8", "backslashreplace")


def _words(payload: bytes, flags: int) -> str:
    """The kernel's explanation of an error, which follows the request that it quotes."""
    capped, tlvs = 0x100, 0x200
    if not flags & tlvs:
        return ""
    size = unpack_from("=I", payload, 4)[0]
    at = 4 + (16 if flags & capped else size + 3 & ~3)
    for kind, data in attributes(payload[at:]):
        if kind == NLMSGERR_ATTR_MSG:
            return data.rstrip(b"\0").decode("utf-8", "backslashreplace")
    return ""
