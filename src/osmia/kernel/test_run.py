"""Running a program once in the kernel, without attaching it (``BPF_PROG_TEST_RUN``)."""

from __future__ import annotations

import errno

from osmia.diagnostics.errors import LoadError, UnsupportedFeature
from osmia.diagnostics.text import clean
from osmia.kernel import refusals, release, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.kernel.program import Program

ON_CPU, LIVE_FRAMES = 1, 2
"""``flags``: run on the CPU that ``cpu`` names; really send what an XDP program lets through (Linux 5.18)."""

_ETHERNET = 14
_ROOM = 1 << 16
# Types that look at a packet: what runs needs at least an Ethernet header.
_PACKETS = frozenset(
    ("socket_filter", "sched_cls", "sched_act", "xdp", "cgroup_skb", "lwt_in", "lwt_out", "lwt_xmit",
     "lwt_seg6local", "flow_dissector")
)  # fmt: skip
# Types that run on a context alone.
_CONTEXT_ONLY = frozenset(("raw_tracepoint", "raw_tracepoint_writable", "syscall", "sk_lookup"))


class TestResult:
    """What a run gave.

    :ivar retval: the program's return value, 32 bits. :ivar duration_ns: mean time of a run. :ivar data: the packet
        afterwards. :ivar context: the context afterwards.
    """

    __slots__ = ("context", "data", "duration_ns", "retval")
    __test__ = False  # no test case, whatever its name looks like

    def __init__(self, retval: int, duration_ns: int, data: bytes, context: bytes) -> None:
        self.retval = retval
        self.duration_ns = duration_ns
        self.data = data
        self.context = context

    @property
    def signed(self) -> int:
        """The return value as a signed number."""
        return self.retval - (1 << 32) if self.retval >> 31 else self.retval

    def __repr__(self) -> str:
        return f"TestResult(retval={self.retval}, duration_ns={self.duration_ns}, {len(self.data)} bytes out)"


def test_run(
    program: Program,
    data: bytes = b"",
    *,
    context: bytes = b"",
    repeat: int = 0,
    cpu: int = -1,
    flags: int = 0,
    batch_size: int = 0,
) -> TestResult:
    """Runs a program once, or ``repeat`` times for its duration.

    :param data: the packet, for program types that see one; at least 14 bytes, an Ethernet header.
    :param context: the context's bytes: ``struct xdp_md``, ``struct __sk_buff``, the arguments of a raw tracepoint (8
        bytes each), the argument of a ``syscall`` program.
    :param cpu: run there (raw tracepoints, Linux 5.10). :param flags: see ``LIVE_FRAMES``.
    :raises LoadError: KRN032, the kernel refused the run; KRN031, programs of this type cannot be run by themselves.
    """
    from osmia.abi import prog_types

    row = prog_types.TABLE.find(program.prog_type)
    kind = "" if row is None else str(row.name)
    if row is not None and not row.test_run:
        raise UnsupportedFeature(
            "KRN031",
            f"programs of type {kind} cannot be run by themselves",
            errno=errno.EOPNOTSUPP,
            hint="those that can: " + ", ".join(item.name for item in prog_types.prog_types() if item.test_run),
        )
    if kind in _PACKETS and len(data) < _ETHERNET:
        raise LoadError(
            "KRN032",
            f"'{clean(program.name)}' needs a packet of at least {_ETHERNET} bytes (Ethernet header), not {len(data)}",
            errno=errno.EINVAL,
        )
    if cpu >= 0:
        flags |= ON_CPU
    wants_data = kind in _PACKETS and not flags & LIVE_FRAMES
    out = bytearray(max(_ROOM, 2 * len(data))) if wants_data else None
    # Raw tracepoints give no context back; of syscall programs the kernel writes it back to where it came from.
    ctx_in = bytearray(context)
    ctx_out = None
    if context and (kind in _PACKETS or kind == "sk_lookup") and not flags & LIVE_FRAMES:
        ctx_out = bytearray(len(context))
    # A tracing program's run is of the kernel's own test functions, which take neither.
    try:
        retval, duration, size, ctx_size = syscall.prog_test_run(
            program.fileno(), data_in=data if kind not in _CONTEXT_ONLY else b"", data_out=out, ctx_in=ctx_in,
            ctx_out=ctx_out, repeat=repeat, flags=flags, cpu=max(cpu, 0), batch_size=batch_size,
        )  # fmt: skip
    except OSError as error:
        raise _refused(program, kind, error) from None
    changed = bytes(ctx_out[: min(ctx_size, len(ctx_out))]) if ctx_out is not None else b""
    if kind == "syscall":
        changed = bytes(ctx_in)
    return TestResult(retval, duration, bytes(out[: min(size, len(out))]) if out is not None else b"", changed)


test_run.__test__ = False  # type: ignore[attr-defined]


def _refused(program: Program, kind: str, error: OSError) -> LoadError:
    number = error.errno or 0
    what = f"cannot run '{clean(program.name)}'"
    if number == errno.EPERM:
        return refusals.not_permitted(what, refusals.needs_of(kind))
    if number in (524, errno.EOPNOTSUPP):
        return UnsupportedFeature("KRN031", f"{what}: this kernel cannot run programs of type {kind}", errno=number)
    if number == errno.EINVAL:
        hint = f"the kernel ({release.text(release.running()[:2])}) does not take this packet, context, CPU or flags "
        hint += f"for a program of type {kind}"
        return LoadError("KRN032", f"{what}: its input is refused", errno=number, hint=hint)
    return LoadError("KRN032", f"{what}: {refusals.error_text(number)}", errno=number)
