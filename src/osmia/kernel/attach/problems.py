"""What the kernel's refusals to attach mean."""

from __future__ import annotations

import errno

from osmia.diagnostics.errors import AttachError, LoadError, UnsupportedFeature
from osmia.kernel import refusals, release
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from osmia.kernel.program import Program


def refused(
    program: Program,
    kind: str,
    target: str,
    error: OSError,
    *,
    needs: Sequence[str] = ("bpf", "perfmon"),
    since: release.Version | None = None,
    hint: str | None = None,
) -> LoadError:
    """The error for a system call that did not attach.

    :param needs: capabilities that it takes. :param since: kernel release that brought this way of attaching.
    :param hint: what to try where the cause is the target's.
    """
    number = error.errno or 0
    where = f"{kind} {clean(target)}".strip()
    what = f"cannot attach '{clean(program.name)}' to {where}"
    if number in (errno.EPERM, errno.EACCES):
        return refusals.not_permitted(what, needs)
    if number in (errno.EBUSY, errno.EEXIST):
        return AttachError(
            "HOOK009",
            f"{what}: something is attached there already",
            errno=number,
            hint=hint or "detach it first; `osmia ps` lists what is attached",
        )
    if since is not None and not release.has(since):
        return refusals.too_old("HOOK016", what, since, number)
    if number == errno.ENOENT:
        return AttachError("HOOK017", f"{what}: there is no such target", errno=number, hint=hint)
    if number == errno.ENODEV:
        return AttachError("HOOK010", f"{what}: there is no such device", errno=number, hint=hint)
    if number == errno.EINVAL:
        fits = _misfit(program, kind)
        if fits is not None:
            return AttachError("HOOK015", f"{what}: {fits}", errno=number)
        return AttachError(
            "HOOK017",
            f"{what}: the kernel refuses the program, the target or an option",
            errno=number,
            hint=hint,
        )
    if number in (errno.EOPNOTSUPP, 524, errno.ENOSYS):
        return UnsupportedFeature("HOOK016", f"{what}: this kernel cannot do that", errno=number, hint=hint)
    if number == errno.ENOMEM:
        return refusals.no_memory(what, "an attachment")
    return AttachError("HOOK017", f"{what}: {refusals.error_text(number)}", errno=number, hint=hint)


_TYPES = {
    "tracepoint": ("tracepoint",), "raw_tracepoint": ("raw_tracepoint", "raw_tracepoint_writable"),
    "uprobe": ("kprobe",), "uretprobe": ("kprobe",), "usdt": ("kprobe",), "kprobe": ("kprobe",),
    "kretprobe": ("kprobe",), "perf_event": ("perf_event",), "profile": ("perf_event",), "software": ("perf_event",),
    "hardware": ("perf_event",), "interval": ("perf_event",), "btf_tracepoint": ("tracing",), "fentry": ("tracing",),
    "fexit": ("tracing",), "fmod_ret": ("tracing",), "iter": ("tracing",), "lsm": ("lsm",), "xdp": ("xdp",),
    "tc": ("sched_cls", "sched_act"), "netkit": ("sched_cls",), "netfilter": ("netfilter",),
    "socket_filter": ("socket_filter",), "sk_lookup": ("sk_lookup",), "flow_dissector": ("flow_dissector",),
    "sk_skb": ("sk_skb",), "sk_msg": ("sk_msg",), "sk_reuseport": ("sk_reuseport", "socket_filter"),
}  # fmt: skip


def _misfit(program: Program, kind: str) -> str | None:
    from osmia.abi import prog_types

    row = prog_types.TABLE.find(program.prog_type)
    wanted = _TYPES.get(kind)
    if row is None or wanted is None or row.name in wanted:
        return None
    return f"it is a program of type {row.name}, this kind of hook takes {' or '.join(wanted)}"


def check_type(program: Program, kind: str) -> None:
    """Refuses a program of a type that the kind of hook does not take. :raises AttachError: HOOK015."""
    fits = _misfit(program, kind)
    if fits is not None:
        raise AttachError("HOOK015", f"cannot attach '{clean(program.name)}' to {kind}: {fits}", errno=errno.EINVAL)


def perf_refused(what: str, error: OSError, hint: str | None = None) -> LoadError:
    """The error for a perf event that could not be opened."""
    number = error.errno or 0
    what = f"cannot {what}"
    if number in (errno.EPERM, errno.EACCES):
        return refusals.not_permitted(what, ("perfmon",))
    words = {
        errno.ENOENT: "this machine has no such event",
        errno.ENODEV: "this machine's CPU has no such event",
        errno.EOPNOTSUPP: "this machine's CPU cannot sample that event",
        errno.EINVAL: "the kernel refuses the event or its settings",
        errno.ESRCH: "there is no such process",
        errno.EMFILE: "this process has too many files open",
        errno.EBUSY: "the CPU's counters are all in use",
    }.get(number, refusals.error_text(number))
    if number == errno.EMFILE:
        hint = "raise the limit: ulimit -n"
    if number in (errno.ENOENT, errno.ENODEV, errno.EOPNOTSUPP) and hint is None:
        hint = "virtual machines often have no hardware counters; software events such as cpu-clock work everywhere"
    return AttachError("HOOK013", f"{what}: {words}", errno=number, hint=hint)
