"""Attaching programs to hooks: one function, and a link that detaches when it is closed.

================ =================================================================================================
``link``         what every attachment is: close, detach, update, info, pin
``tracing``      tracepoints of all kinds, kernel functions, security hooks, iterators
``tracepoint``   tracepoints of tracefs, and perf events as carriers of programs
``probes``       uprobes, USDT probes, kprobes
``timed``        sampling and counting perf events, intervals, begin and end
``network``      XDP, tc (tcx and clsact), netkit, netfilter
``sockets``      socket filters, sockmaps, network namespaces
``control``      cgroups
``problems``     what the kernel's refusals mean
================ =================================================================================================
"""

from __future__ import annotations

from osmia.diagnostics.errors import AttachError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from osmia.kernel.attach.link import Link
    from osmia.kernel.program import Program
    from osmia.object.spec import Hook

# Hook kinds by the module that attaches them; each has a function `attach(program, kind, target, options)`.
KINDS = {
    "tracepoint": "tracepoint",
    "raw_tracepoint": "tracing", "btf_tracepoint": "tracing", "fentry": "tracing", "fexit": "tracing",
    "fmod_ret": "tracing", "lsm": "tracing", "iter": "tracing", "freplace": "tracing", "fsession": "tracing",
    "uprobe": "probes", "uretprobe": "probes", "usdt": "probes", "kprobe": "probes", "kretprobe": "probes",
    "ksyscall": "probes", "kretsyscall": "probes",
    "perf_event": "timed", "profile": "timed", "software": "timed", "hardware": "timed", "interval": "timed",
    "begin": "timed", "end": "timed",
    "xdp": "network", "tc": "network", "netkit": "network", "netfilter": "network",
    "cgroup": "control",
    "socket_filter": "sockets", "sk_reuseport": "sockets", "sk_lookup": "sockets", "flow_dissector": "sockets",
    "sk_skb": "sockets", "sk_msg": "sockets",
}  # fmt: skip
_ON_DEMAND = {
    "syscall": "it runs on demand: program.test_run()",
    "func": "it is a function for other programs, or for an object's own loader",
}


def attach(
    program: Program, hook: Hook | None = None, *, maps: Mapping[str, Any] | None = None, **options: Any
) -> Link:
    """Attaches a program and gives the link that holds it; closing the link detaches.

    :param hook: where; the hook of the program's spec if not given. :param options: override the hook's options
        (``pid``, ``cookie``, ``path``, ``interface``...; each module's ``attach`` lists them).
    :param maps: live maps by name, for hooks whose options name a map.
    :raises AttachError: a ``HOOK`` error; nothing is attached then. :raises SymbolError: for user probes.
    """
    if hook is None:
        hook = program.spec.hook if program.spec is not None else None
    if hook is None:
        raise AttachError("HOOK006", f"program '{program.name}' has no hook", hint="say where to attach it")
    place = KINDS.get(hook.kind)
    if place is None:
        raise _unknown(program, hook)
    merged = {**hook.options, **options}
    named = merged.get("map")
    if isinstance(named, str) and maps is not None and named in maps:
        merged["map"] = maps[named]
    if place == "tracepoint":
        from osmia.kernel.attach.tracepoint import attach as attach_here
    else:
        from importlib import import_module

        attach_here = import_module(f"osmia.kernel.attach.{place}").attach
    link: Link = attach_here(program, hook.kind, str(merged.pop("interface", "") or hook.target), merged)
    return link


def _unknown(program: Program, hook: Hook) -> AttachError:
    if hook.kind in _ON_DEMAND:
        return AttachError("HOOK001", f"program '{program.name}' is not attached: {_ON_DEMAND[hook.kind]}")
    from osmia.diagnostics.text import clean, did_you_mean

    return AttachError(
        "HOOK001",
        f"there is no kind of hook {clean(hook.kind)!r} that program '{program.name}' could be attached to",
        hint=did_you_mean(hook.kind, KINDS) or "kinds: " + ", ".join(KINDS),
    )
