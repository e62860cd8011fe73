"""Probing with programs of two instructions: which program types load, which helpers each may call.

Every program is closed before the probe returns; nothing is attached.
"""

from __future__ import annotations

import errno
import os
from struct import pack

from osmia.kernel import refusals, release, syscall
from osmia.kernel.probe_rows import (
    FORBIDDEN,
    HELPER,
    NO,
    PROGRAM_TYPE,
    UNKNOWN,
    Row,
    absent,
    answered,
    yes,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from osmia.abi.helpers import Helper
    from osmia.abi.prog_types import ProgType
    from osmia.btf.reader import Btf

SLEEPABLE = 1 << 4
ENOTSUPP = 524
_LOG = 16 << 10

# Kernel options by program type (include/linux/bpf_types.h of Linux 6.12).
OPTIONS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("socket_filter", "sched_cls", "sched_act", "xdp", "sock_ops", "sk_skb", "sk_msg", "flow_dissector"),
        ("CONFIG_NET",),
    ),
    **dict.fromkeys(("cgroup_skb", "cgroup_sock", "cgroup_sock_addr"), ("CONFIG_NET", "CONFIG_CGROUP_BPF")),
    **dict.fromkeys(("cgroup_device", "cgroup_sysctl", "cgroup_sockopt"), ("CONFIG_CGROUP_BPF",)),
    **dict.fromkeys(("lwt_in", "lwt_out", "lwt_xmit"), ("CONFIG_NET", "CONFIG_LWTUNNEL_BPF")),
    "lwt_seg6local": ("CONFIG_NET", "CONFIG_IPV6_SEG6_BPF"),
    **dict.fromkeys(
        ("kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable"), ("CONFIG_BPF_EVENTS",)
    ),
    "tracing": ("CONFIG_BPF_EVENTS", "CONFIG_DEBUG_INFO_BTF"),
    "lirc_mode2": ("CONFIG_BPF_LIRC_MODE2",),
    **dict.fromkeys(("sk_reuseport", "sk_lookup"), ("CONFIG_INET",)),
    **dict.fromkeys(("struct_ops", "ext"), ("CONFIG_BPF_JIT", "CONFIG_DEBUG_INFO_BTF")),
    "lsm": ("CONFIG_BPF_LSM", "CONFIG_DEBUG_INFO_BTF"),
    "syscall": ("CONFIG_BPF_SYSCALL",),
    "netfilter": ("CONFIG_NETFILTER_BPF_LINK",),
}
# What in the kernel's BTF a program of an attach type can be loaded for: functions made for testing where there are.
_FUNCTIONS = {
    "trace_fentry": ("bpf_fentry_test1",),
    "trace_fexit": ("bpf_fentry_test1",),
    "trace_fsession": ("bpf_fentry_test1",),
    "modify_return": ("bpf_modify_return_test",),
    "trace_iter": ("bpf_iter_task", "bpf_iter_bpf_map"),
    "lsm_mac": ("bpf_lsm_file_open",),
    "lsm_cgroup": ("bpf_lsm_socket_bind",),
}
_TRACEPOINTS = ("btf_trace_sched_switch", "btf_trace_sys_enter", "btf_trace_task_newtask")
_STRUCT_OPS = ("tcp_congestion_ops", "ssthresh")


def insn(opcode: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    """One instruction slot."""
    return pack("=BBhi", opcode, dst | src << 4, offset, imm)


EXIT = insn(0x95)


def constant(value: int) -> bytes:
    """A program that returns a number."""
    return insn(0xB7, 0, imm=value) + EXIT


class Loader:
    """Loads small programs into the running kernel.

    :param cache_dir: a private folder for the index of the kernel's types.
    """

    def __init__(self, cache_dir: str | None = None) -> None:
        self._cache_dir = cache_dir
        self._btf: Btf | None = None
        self._btf_read = False
        self._targets: dict[tuple[str, str], tuple[int, int] | None] = {}

    def btf(self) -> Btf | None:
        """The kernel's types, None where it offers none."""
        if not self._btf_read:
            from osmia.btf.kernel import kernel_btf
            from osmia.diagnostics.errors import BtfError

            self._btf_read = True
            try:
                self._btf = kernel_btf(self._cache_dir)
            except BtfError:
                self._btf = None
        return self._btf

    def load(
        self,
        kind: str,
        attach: str = "",
        code: bytes = b"",
        *,
        flags: int = 0,
        target: str = "",
        log: bool = False,
        **more: Any,
    ) -> tuple[int, str]:
        """Loads and forgets a program: 0 or an error's number, and the verifier's log.

        :param code: instructions; without, a program that returns what its type may return.
        :param attach: attach type's name. :param target: the kernel function or type to load for, instead of one that
            suits the attach type. :param more: as :func:`osmia.kernel.syscall.prog_load` takes it.
        """
        fd, text = self.open(kind, attach, code, flags=flags, target=target, log=log, **more)
        if fd < 0:
            return -fd, text
        os.close(fd)
        return 0, text

    def open(
        self,
        kind: str,
        attach: str = "",
        code: bytes = b"",
        *,
        flags: int = 0,
        target: str = "",
        log: bool = False,
        **more: Any,
    ) -> tuple[int, str]:
        """As :meth:`load` for a descriptor, which the caller closes, or ``-errno``. ``-ENOENT``: no BTF target."""
        from osmia.abi import attach_types, prog_types

        row = prog_types.prog_type(kind)
        expected = attach_types.number(attach) if attach else 0
        btf_id = 0
        if row.attach_btf:
            found = self.target(kind, attach, target)
            if found is None:
                return -errno.ENOENT, ""
            btf_id, index = found
            expected = index if kind == "struct_ops" else expected
        room = bytearray(_LOG) if log else None
        result, _ = syscall.prog_load(
            row.number, code or constant(returns(row, attach)), "GPL", attach_type=expected,
            flags=flags | (SLEEPABLE if kind == "syscall" else 0), attach_btf_id=btf_id,
            kernel_version=0 if release.has((5, 0)) else release.code(), log_level=1 if log else 0, log=room, **more,
        )  # fmt: skip
        return result, "" if room is None else bytes(room).partition(b"\0")[0].decode("utf-8", "backslashreplace")

    def target(self, kind: str, attach: str, name: str = "") -> tuple[int, int] | None:
        """BTF id to load for and, for ``struct_ops``, the member's index; None where the kernel's BTF has none."""
        key = (attach or kind, name)
        if key not in self._targets:
            self._targets[key] = self._find(kind, attach, name)
        return self._targets[key]

    def _find(self, kind: str, attach: str, name: str) -> tuple[int, int] | None:
        from osmia.btf.types import Func, Struct, Typedef

        if kind == "ext":
            return 1, 0  # any type of the kernel: refused as such by those who know the program type
        types = self.btf()
        if types is None:
            return None
        if kind == "struct_ops":
            found = types.find(_STRUCT_OPS[0], Struct)
            names = [member.name for member in found.members] if found is not None else []
            return (found.id, names.index(_STRUCT_OPS[1])) if found is not None and _STRUCT_OPS[1] in names else None
        wanted = (name,) if name else _TRACEPOINTS if attach == "trace_raw_tp" else _FUNCTIONS.get(attach, ())
        for one in wanted:
            ids = types.ids_by_name(one, Typedef if attach == "trace_raw_tp" else Func)
            if ids:
                return ids[0], 0
        return None


def returns(row: ProgType, attach: str = "") -> int:
    """The least value that a program may return."""
    from osmia.abi import attach_types

    ends = (attach_types.attach_type(attach).returns if attach else None) or row.returns
    return ends[0] if ends else 0


def first_attach(row: ProgType) -> str:
    """An attach type to load a program type with, empty where none is needed."""
    if row.name == "tracing":
        return "trace_raw_tp"
    if row.name == "lsm":
        return "lsm_mac"
    return str(row.attach_types[0]) if row.needs_attach_type else ""


# Program types


def program_type(loader: Loader, row: ProgType) -> Row:
    """Whether programs of a type load."""
    name = str(row.name)
    number, log = loader.load(name, first_attach(row), log=name == "ext")
    if name == "ext" and number == errno.EINVAL and "Cannot replace kernel functions" in log:
        number = 0
    if number == errno.ENOENT and row.attach_btf:
        return no_target(PROGRAM_TYPE, name, row.version, loader, OPTIONS[name])
    found = answered(
        PROGRAM_TYPE, name, row.version, number, what=f"cannot load a program of type {name}",
        needs=refusals.needs_of(name), options=OPTIONS.get(name, ()), kind=name,
    )  # fmt: skip
    if name == "tracing" and found.status == NO and loader.btf() is not None:
        # Other attach types of the same program type may still load.
        number, _ = loader.load(name, "trace_iter")
        if not number:
            return yes(PROGRAM_TYPE, name, row.version)
    return found


def no_target(area: str, name: str, version: tuple[int, int], loader: Loader, options: Sequence[str]) -> Row:
    """The row for a program whose target the kernel's BTF does not have."""
    if loader.btf() is None:
        return absent(
            area, name, version, options=("CONFIG_DEBUG_INFO_BTF",),
            reason="the kernel offers no type information (BTF)",
            remedy="run a kernel with CONFIG_DEBUG_INFO_BTF=y; see the row btf",
        )  # fmt: skip
    return absent(area, name, version, options=options, reason="the kernel's types (BTF) hold nothing to attach to")


def program_types(loader: Loader) -> list[Row]:
    """A row per program type."""
    from osmia.abi import prog_types

    return [program_type(loader, row) for row in prog_types.prog_types() if row.number]


# Helpers

_REFUSED = ("unknown func", "cannot use helper", "invalid func")


def helper_verdict(loader: Loader, kind: str, attach: str, number: int, flags: int = 0) -> str:
    """What the verifier says of a call of a helper: ``yes`` (known, whatever it finds wrong with the arguments),
    ``sleep`` (for sleepable programs), ``place`` (for some attach points), ``no``, or ``error:N`` where it was not
    asked."""
    code = insn(0x85, imm=number) + insn(0xB7, 0) + EXIT
    failed, log = loader.load(kind, attach, code, flags=flags, log=True)
    if failed and not log.strip():
        return f"error:{failed}"
    if any(words in log for words in _REFUSED):
        return "no"
    if "supported only for" in log or "not supported for" in log:
        return "no"
    if "might sleep in a non-sleepable prog" in log or "is sleepable and can only be called" in log:
        return "sleep"
    if "helper call is not allowed in probe" in log:
        return "place"
    return "yes"


def places(row: ProgType, helper: Helper) -> tuple[str, ...]:
    """The attach types with which a program type may call a helper, best first."""
    limited = helper.attach_types.get(row.name)
    if limited:
        return tuple(limited)
    attach = first_attach(row)
    if row.name == "tracing" and helper.sleeps:
        return ("trace_iter", attach)
    return (attach,)


def helper_rows(loader: Loader, kind: str, everything: bool = False) -> list[Row]:
    """A row per helper that programs of a type may call, by the table or by this kernel.

    :param everything: rows for all helpers, also those that are not for this type.
    :raises UsageError: ABI001 for an unknown program type.
    """
    from osmia.abi import helpers, prog_types

    row = prog_types.prog_type(kind)
    able = program_type(loader, row)
    found = []
    for helper in helpers.helpers():
        listed = helper.allowed(row.name)
        if not listed and not everything and (not able.ok or release.running()[:2] <= _probed()):
            continue
        if able.status == NO:
            found.append(_unreachable(helper, row, able))
            continue
        one = _helper_row(loader, helper, row, able, listed)
        if listed or everything or one.ok:
            found.append(one)
    return found


def _probed() -> tuple[int, int]:
    """The release whose verifier the helper table quotes: up to it, what is not listed need not be asked."""
    from osmia.abi.kernel_versions import PROBED

    return PROBED


def _unreachable(helper: Helper, row: ProgType, able: Row) -> Row:
    reason = f"program type {row.name}: {able.reason}"
    return Row(HELPER, helper.name, able.status, helper.version, reason, able.remedy, able.cause or able.reason)


def _helper_row(loader: Loader, helper: Helper, row: ProgType, able: Row, listed: bool) -> Row:
    if not able.ok:
        if not release.has(helper.version):
            return absent(HELPER, helper.name, helper.version)
        return Row(
            HELPER, helper.name, able.status, helper.version, f"program type {row.name}: {able.reason}", able.remedy
        )
    verdict = "no"
    for attach in places(row, helper):
        verdict = helper_verdict(loader, row.name, attach, helper.number)
        if verdict in ("yes", "sleep"):
            break
    if verdict in ("yes", "sleep", "place"):
        words = {"yes": "", "sleep": "only in sleepable programs", "place": "only at some attach points"}[verdict]
        return yes(HELPER, helper.name, helper.version, words)
    if verdict.startswith("error:"):
        failed = int(verdict[6:])
        if failed in (errno.EPERM, errno.EACCES):
            attach = places(row, helper)[0]
            return Row(
                HELPER, helper.name, FORBIDDEN, helper.version,
                f"for programs of attach type {attach}, which may not be loaded here",
                "ask the machine's owner, whose policy it is, or use another kind of hook",
            )  # fmt: skip
        return Row(
            HELPER, helper.name, UNKNOWN, helper.version, f"could not be tried: {refusals.error_text(failed)}",
            "run `osmia doctor` again",
        )  # fmt: skip
    if not listed:
        return Row(
            HELPER, helper.name, NO, helper.version, f"not for programs of type {row.name}",
            "it is for " + ", ".join(helper.prog_types), f"not for {row.name}",
        )  # fmt: skip
    if helper.needs and not helper.needs.startswith("CONFIG_") and release.has(helper.version):
        return Row(
            HELPER, helper.name, FORBIDDEN, helper.version, f"needs {helper.needs}",
            "lockdown is set at boot (lockdown= on the kernel command line, secure boot) or by the machine's owner",
        )  # fmt: skip
    return absent(HELPER, helper.name, helper.version, options=(helper.needs,) if helper.needs else ())


def all_helpers(loader: Loader, types: Sequence[Row]) -> list[Row]:
    """A row per helper: ``yes`` where programs of any type may call it; the reason says of which.

    :param types: the rows of :func:`program_types`.
    """
    from osmia.abi import helpers, prog_types

    able = {row.name: row for row in types}
    asked: dict[str, dict[str, Row]] = {}
    for kind in able:
        for found in helper_rows(loader, kind):
            asked.setdefault(found.name, {})[kind] = found
    rows = []
    for helper in helpers.helpers():
        by_kind = asked.get(helper.name, {})
        kinds = [row.name for row in prog_types.prog_types() if row.name in by_kind and by_kind[row.name].ok]
        if kinds:
            rows.append(yes(HELPER, helper.name, helper.version, "in " + ", ".join(kinds)))
            continue
        rows.append(_best(helper, by_kind, able))
    return rows


def _best(helper: Helper, by_kind: dict[str, Row], types: dict[str, Row]) -> Row:
    """Of rows without any ``yes`` the one that says most: of program types that load, else the nearest to a ``yes``."""
    order = (FORBIDDEN, UNKNOWN, NO)
    ranked = sorted(by_kind, key=lambda kind: (not types[kind].ok, order.index(by_kind[kind].status)))
    if ranked:
        return by_kind[ranked[0]]
    return absent(HELPER, helper.name, helper.version, reason="no program type of this kernel may call it")
