"""Programs on sockets, socket maps and network namespaces."""

from __future__ import annotations

import errno
import os

from osmia.abi import attach_types
from osmia.abi.uapi_net import SO_ATTACH_BPF, SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_BPF, SO_DETACH_REUSEPORT_BPF
from osmia.diagnostics.errors import AttachError, LoadError
from osmia.diagnostics.text import clean
from osmia.kernel import release, syscall
from osmia.kernel.attach.link import BpfLink, CalledLink, Link
from osmia.kernel.attach.problems import check_type, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

    from osmia.kernel.program import Program

_SKB = {"stream_parser": "sk_skb_stream_parser", "stream_verdict": "sk_skb_stream_verdict", "verdict": "sk_skb_verdict"}
_NEEDS = ("bpf", "net_admin")


def attach(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    """Attaches to a socket, a socket map or a network namespace.

    Options: ``socket`` (a socket or its descriptor; for ``socket_filter`` and ``sk_reuseport``, where it stands for
    its whole group), ``map`` (a live sockmap or sockhash; for ``sk_skb``, whose target is ``stream_parser``,
    ``stream_verdict`` or ``verdict``, and ``sk_msg``), ``netns`` (path or descriptor, else this process's; for
    ``sk_lookup`` and ``flow_dissector``).

    :raises AttachError: HOOK006, HOOK009, HOOK015-HOOK017, HOOK019 (no such namespace).
    """
    check_type(program, kind)
    if kind in ("socket_filter", "sk_reuseport"):
        return _on_socket(program, kind, options)
    if kind in ("sk_skb", "sk_msg"):
        return _on_map(program, kind, target, options)
    return _on_namespace(program, kind, options)


def _on_socket(program: Program, kind: str, options: dict[str, Any]) -> Link:
    import socket

    given = options.get("socket")
    if given is None:
        raise AttachError("HOOK006", f"a {kind} needs a socket", hint="give the option socket=")
    own = _own_socket(given)
    attach_option, detach_option = SO_ATTACH_BPF, SO_DETACH_BPF
    if kind == "sk_reuseport":
        attach_option, detach_option = SO_ATTACH_REUSEPORT_EBPF, SO_DETACH_REUSEPORT_BPF
    number = own.fileno()
    try:
        own.setsockopt(socket.SOL_SOCKET, attach_option, program.fileno())
    except OSError as error:
        own.close()
        hint = "the socket needs SO_REUSEPORT, and to be bound or about to" if kind == "sk_reuseport" else None
        raise refused(program, kind, f"socket {number}", error, needs=_NEEDS, hint=hint) from None

    def undo() -> None:
        try:
            own.setsockopt(socket.SOL_SOCKET, detach_option, 0)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise refused(program, kind, f"socket {number}", error, needs=_NEEDS) from None
        finally:
            own.close()

    def replace(other: Program) -> None:
        try:
            own.setsockopt(socket.SOL_SOCKET, attach_option, other.fileno())
        except OSError as error:
            raise refused(other, kind, f"socket {number}", error, needs=_NEEDS) from None

    return CalledLink(program, kind, f"socket {number}", undo, replace=replace)


def _own_socket(given: Any) -> socket.socket:
    """Another handle of the same socket, so that the user may close his."""
    import socket

    from osmia.kernel.maps.descriptors import descriptor_of

    try:
        number = os.dup(descriptor_of(given))
    except (TypeError, ValueError, OSError) as error:
        raise AttachError("HOOK006", f"{given!r} is no socket: {error}", errno=errno.ENOTSOCK) from None
    try:
        return socket.socket(fileno=number)
    except OSError as error:
        os.close(number)
        raise AttachError("HOOK006", f"{given!r} is no socket: {error.strerror}", errno=error.errno or 0) from None


def _on_map(program: Program, kind: str, target: str, options: dict[str, Any]) -> Link:
    from osmia.kernel.maps.descriptors import descriptor_of

    name = "sk_msg_verdict" if kind == "sk_msg" else _SKB.get(target, "")
    if not name and program.attach_type:
        name = attach_types.attach_type(program.attach_type).name
    if not name:
        raise AttachError("HOOK006", f"{clean(target)!r} is no kind of sk_skb", hint=", ".join(_SKB))
    number = attach_types.number(name)
    given = options.get("map")
    try:
        map_fd = descriptor_of(given)
    except (TypeError, ValueError):
        raise AttachError(
            "HOOK006",
            f"{kind} '{clean(program.name)}' needs a live sockmap or sockhash, not {given!r}",
            hint="give the option map=",
        ) from None
    where = f"{target or name} of map {getattr(given, 'name', given)}"
    try:
        if release.has((6, 10)):
            return BpfLink(program, kind, where, syscall.link_create(program.fileno(), map_fd, number))
        syscall.prog_attach(map_fd, program.fileno(), number)
    except OSError as error:
        hint = "it must be a sockmap or sockhash; a map has one verdict, of one kind"
        raise refused(program, kind, where, error, needs=_NEEDS, hint=hint) from None
    own = os.dup(map_fd)

    def undo() -> None:
        try:
            syscall.prog_detach(own, program.fileno(), number)
        except (OSError, LoadError):
            pass  # the map lets go of it with its last descriptor
        finally:
            os.close(own)

    return CalledLink(program, kind, where, undo)


def _on_namespace(program: Program, kind: str, options: dict[str, Any]) -> Link:
    from osmia.kernel.namespaces import open_netns

    number = attach_types.number("sk_lookup" if kind == "sk_lookup" else "flow_dissector")
    namespace = open_netns(options.get("netns"))
    where = str(options.get("netns") or "this network namespace")
    try:
        fd = syscall.link_create(program.fileno(), namespace, number)
    except OSError as error:
        since = (5, 9) if kind == "sk_lookup" else (5, 8)
        raise refused(program, kind, where, error, needs=_NEEDS, since=since) from None
    finally:
        os.close(namespace)
    return BpfLink(program, kind, where, fd)
