"""ELF section names of programs: what they say about program type, attach type, load flags and hook.

The names are libbpf's; the rows that say which exist belong to the program types (``osmia.abi.prog_types``). Here the
part after the slash is read as the hook's own words, the same that the front ends use.
"""

from __future__ import annotations

from osmia.abi import attach_types, prog_types
from osmia.object.spec import Hook

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

BPF_F_SLEEPABLE = 1 << 4
BPF_F_XDP_HAS_FRAGS = 1 << 5
_FLAGS = {"sleepable": BPF_F_SLEEPABLE, "frags": BPF_F_XDP_HAS_FRAGS}

# Prefix before the first slash, without ``.s``: the hook's kind where it differs.
_KINDS = {
    "tp": "tracepoint", "raw_tp": "raw_tracepoint", "raw_tp.w": "raw_tracepoint", "raw_tracepoint.w": "raw_tracepoint",
    "tp_btf": "btf_tracepoint", "socket": "socket_filter", "classifier": "tc", "tcx": "tc", "action": "tc_action",
    "kprobe.multi": "kprobe", "kretprobe.multi": "kretprobe", "kprobe.session": "kprobe", "uprobe.multi": "uprobe",
    "uretprobe.multi": "uretprobe", "uprobe.session": "uprobe", "cgroup_skb": "cgroup", "sockops": "cgroup",
    "lsm_cgroup": "lsm", "xdp.frags": "xdp",
}  # fmt: skip
_CGROUP = {"cgroup/dev": "device", "sockops": "sockops", "cgroup/skb": "skb", "cgroup/sock": "sock_create"}


class SectionMeaning:
    """What a section name says: program type and expected attach type by number, load flags, hook, autoload."""

    __slots__ = ("attach_type", "autoload", "flags", "hook", "prog_type")

    def __init__(self, prog_type: int, attach_type: int, flags: int, hook: Hook, autoload: bool) -> None:
        self.prog_type = prog_type
        self.attach_type = attach_type
        self.flags = flags
        self.hook = hook
        self.autoload = autoload


def parse_section(section: str) -> SectionMeaning:
    """The meaning of a program's section name.

    A name that says nothing gives program type 0 (``unspec``) and the hook ``func``; nothing can load that before
    somebody says what the program is. A leading ``?`` means: not loaded unless asked for, and is told by the hook's
    option ``autoload``.
    """
    name = section.removeprefix("?")
    autoload = name == section
    found = prog_types.section(name)
    if found is None:
        hook = Hook("func", "", {} if autoload else {"autoload": False})
        return SectionMeaning(0, 0, 0, hook, autoload)
    row, attach, target, marks = found
    flags = 0
    for mark in marks:
        flags |= _FLAGS[mark]
    hook = _hook(name, attach, target)
    if not autoload:
        hook.options["autoload"] = False
    return SectionMeaning(row.number, attach_types.number(attach) if attach else 0, flags, hook, autoload)


def _hook(name: str, attach: str, target: str) -> Hook:
    prefix = name.partition("/")[0]
    base = prefix.removesuffix(".s")
    kind = _KINDS.get(base, base)
    options: dict[str, Any] = {}
    if ".multi" in base:
        options["multi"] = True
    elif ".session" in base:
        options["session"] = True
    elif base.endswith(".w"):
        options["writable"] = True
    if kind == "tracepoint":
        target = target.replace("/", ":", 1)
    elif kind in ("uprobe", "uretprobe"):
        options.update(_user_place(target))
    elif kind == "usdt":
        binary, _, rest = target.partition(":")
        provider, _, probe = rest.partition(":")
        if target:
            options.update(binary=binary, provider=provider, name=probe, pid=0)
    elif kind == "cgroup":
        target = _CGROUP.get(name) or name.removeprefix("cgroup_").removeprefix("cgroup/")
        options["path"] = ""
    elif kind in ("tc", "sk_skb", "netkit", "sk_reuseport", "xdp"):
        _network(kind, name, options)
        target = name.partition("/")[2] if kind == "sk_skb" else ""
    elif attach == "lsm_cgroup":
        options["cgroup"] = True
    return Hook(kind, target, options)


def _network(kind: str, name: str, options: dict[str, Any]) -> None:
    detail = name.partition("/")[2]
    if kind == "xdp":
        options["frags"] = name.startswith("xdp.frags")
        if detail:
            options["program"] = detail
    elif kind == "tc":
        options["direction"] = detail
    elif detail and kind != "sk_skb":
        options["side" if kind == "netkit" else "mode"] = detail


def _user_place(target: str) -> dict[str, Any]:
    """``/bin/bash:readline+0x10`` in the words of the uprobe hook; nothing where the section names no place."""
    binary, colon, place = target.rpartition(":")
    if not colon:
        return {}
    symbol, plus, shift = place.partition("+")
    try:
        offset = int(shift, 0) if plus else 0
    except ValueError:
        symbol, offset = place, 0
    if not plus and symbol[:1].isdigit():
        try:
            symbol, offset = "", int(symbol, 0)
        except ValueError:
            offset = 0
    return {"binary": binary, "symbol": symbol, "offset": offset, "pid": 0}
