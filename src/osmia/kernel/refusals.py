"""What the kernel's refusals mean: from an errno and a log to an error that names the cause and the way out."""

from __future__ import annotations

import errno
import os

from osmia.diagnostics.errors import LoadError, UnsupportedFeature
from osmia.diagnostics.span import Span
from osmia.kernel import release
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from osmia.object.spec import LineInfo, ProgramSpec

# Rights that a type of program takes beside CAP_BPF.
_TRACING = frozenset(
    ("kprobe", "tracepoint", "perf_event", "raw_tracepoint", "raw_tracepoint_writable", "tracing", "lsm", "ext")
)
_NETWORK = frozenset(
    ("sched_cls", "sched_act", "xdp", "lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local", "sk_skb", "sk_msg",
     "cgroup_sock", "cgroup_sock_addr", "cgroup_sockopt", "cgroup_device", "cgroup_sysctl", "sock_ops",
     "flow_dissector", "sk_lookup", "netfilter", "struct_ops", "ext")
)  # fmt: skip
_TOO_LARGE = ("BPF program is too large", "too complex", "too many jumps", "too many instructions")


def needs_of(prog_type: str) -> tuple[str, ...]:
    """The capabilities that loading a program of a type takes."""
    needs = ["bpf"]
    if prog_type in _TRACING:
        needs.append("perfmon")
    if prog_type in _NETWORK:
        needs.append("net_admin")
    return tuple(needs)


def not_permitted(what: str, needs: Sequence[str], kind: str = "") -> LoadError:
    """The error for ``EPERM``; before Linux 5.11 that also is what the memory limit gives."""
    from osmia.kernel import permissions

    rights = permissions.current()
    wanted = needs if release.has((5, 8)) else ["sys_admin"]
    if not rights.missing(*wanted) and not release.has((5, 11)):
        return LoadError(
            "KRN005",
            f"{what}: the limit of locked memory is reached",
            errno=errno.EPERM,
            hint="raise it: ulimit -l unlimited (as root), or LimitMEMLOCK=infinity in a systemd unit",
        )
    return permissions.refusal(what, wanted, rights=rights, kind=kind)


def no_memory(what: str, size: str) -> LoadError:
    """The error for ``ENOMEM``."""
    return LoadError(
        "KRN005",
        f"{what}: the kernel has no memory for it ({size})",
        errno=errno.ENOMEM,
        hint="lower max_entries or the sizes, or raise the memory limit of the cgroup that this process is in",
    )


def too_old(code: str, what: str, version: release.Version, number: int) -> UnsupportedFeature:
    """The error for what came with a later kernel."""
    return UnsupportedFeature(
        code,
        f"{what} needs Linux {release.text(version)}; this is {release.text(release.running()[:2])}",
        errno=number,
        hint="`osmia doctor` lists what this kernel has",
    )


def unexpected(what: str, error: OSError) -> LoadError:
    """The error for an answer of the kernel that no rule of ours expects."""
    number = error.errno or 0
    if number == errno.ENOSYS:
        return UnsupportedFeature(
            "KRN006",
            f"{what}: there is no bpf system call",
            errno=number,
            hint="the kernel was built without CONFIG_BPF_SYSCALL, or a sandbox (seccomp, gVisor) hides it",
        )
    return LoadError("KRN033", f"{what}: {error_text(number)}", errno=number)


def error_text(number: int) -> str:
    """The kernel's error number in words and by name."""
    if number == 524:
        return "operation not supported (ENOTSUPP)"
    return f"{os.strerror(number).lower()} ({errno.errorcode.get(number, number)})"


def no_such_object(kind: str, number: int, error: OSError) -> LoadError:
    """The error for an id that cannot be opened."""
    if error.errno in (errno.EPERM, errno.EACCES):
        return not_permitted(f"cannot open {kind} {number}", ("sys_admin",))
    if error.errno == errno.ENOENT:
        return LoadError(
            "KRN030", f"there is no {kind} with id {number}", errno=errno.ENOENT, hint="`osmia ps` lists what is loaded"
        )
    return unexpected(f"cannot open {kind} {number}", error)


def program_refused(program: ProgramSpec, number: int, log: str) -> LoadError:
    """The error for a program that did not load."""
    from osmia.abi import prog_types

    row = prog_types.TABLE.find(program.prog_type)
    kind = f"type {program.prog_type}" if row is None else str(row.name)
    what = f"cannot load program '{clean(program.name)}'"
    words = log.strip()
    if number == errno.EPERM and not words:
        return not_permitted(f"{what} ({kind})", needs_of(kind), kind)
    if words and number not in (errno.ENOMEM, errno.ENOSYS):
        return _verifier_refusal(program, what, number, log)
    if number == errno.ENOMEM:
        return no_memory(what, f"{len(program.insns) // 8} instructions")
    if number == errno.E2BIG:
        return LoadError(
            "KRN011",
            f"{what}: it has {len(program.insns) // 8} instructions, more than this kernel takes",
            errno=number,
            hint="4,096 before Linux 5.2 and without CAP_BPF, one million else",
        )
    if number in (errno.EINVAL, errno.EOPNOTSUPP, 524):
        return _invalid(program, what, kind, number)
    return unexpected(f"{what} ({kind})", OSError(number, os.strerror(number)))


def _invalid(program: ProgramSpec, what: str, kind: str, number: int) -> LoadError:
    from osmia.abi import attach_types, prog_types

    row = prog_types.TABLE.find(program.prog_type)
    if row is None:
        return UnsupportedFeature("KRN012", f"{what}: program {kind} is unknown", errno=number)
    if not release.has(row.version):
        return too_old("KRN012", f"{what}: program type {kind}", row.version, number)
    attach = attach_types.TABLE.find(program.attach_type) if program.attach_type else None
    if attach is not None and not release.has(attach.version):
        return too_old("KRN015", f"{what}: attach type {attach.name}", attach.version, number)
    if attach is not None and kind not in attach.prog_types:
        return LoadError(
            "KRN015",
            f"{what}: attach type {attach.name} is not for programs of type {kind}",
            errno=number,
            hint="it is for " + (", ".join(attach.prog_types) or "maps"),
        )
    if row.needs_attach_type and attach is None:
        return LoadError(
            "KRN015",
            f"{what}: a program of type {kind} needs an attach type",
            errno=number,
            hint="one of " + ", ".join(row.attach_types),
        )
    if row.gpl and not program.license.startswith(("GPL", "Dual")):
        return LoadError(
            "KRN016",
            f"{what}: a program of type {kind} needs a licence compatible with the GPL",
            errno=number,
            hint=f"its licence is {clean(program.license)!r}",
        )
    return UnsupportedFeature(
        "KRN016",
        f"{what}: the kernel refuses programs of type {kind} loaded this way",
        errno=number,
        hint=f"flags {program.flags:#x}, attach type {program.attach_type}; the kernel may be built without it",
    )


def _verifier_refusal(program: ProgramSpec, what: str, number: int, log: str) -> LoadError:
    from osmia.kernel import verifier_log

    refusal = verifier_log.parse(log)
    span = span_of(program, refusal.insn)
    message = clean(refusal.message) or f"the verifier refused it: {error_text(number)}"
    notes: list[tuple[str, Span | None]] = []
    if refusal.insn >= 0:
        notes.append((f"at instruction {refusal.insn} of '{program.name}': {clean(refusal.text)}".rstrip(": "), None))
    if any(words in log for words in _TOO_LARGE) or (number == errno.E2BIG and refusal.insn < 0):
        return LoadError(
            "KRN011", f"{what}: {message}", errno=number, span=span, notes=notes, details=log,
            hint="fewer branches in loops, shorter loops, or parts in functions that are verified by themselves",
        )  # fmt: skip
    helper = verifier_log.unknown_helper(refusal.message)
    if helper >= 0:
        found = _helper_refusal(program, what, helper, number, span, log, message)
        if found is not None:
            return found
    error = LoadError("KRN010", message, errno=number, span=span, notes=notes, details=log)
    if not span.file:
        error.message = f"{what}: {message}"
        error.args = (f"KRN010: {error.message}",)
    return error


def _helper_refusal(
    program: ProgramSpec, what: str, helper: int, number: int, span: Span, log: str, message: str
) -> LoadError | None:
    from osmia.abi import helpers, prog_types

    row = helpers.find(helper)
    if row is None:
        return None
    kind = prog_types.TABLE.find(program.prog_type)
    if not release.has(row.version):
        error = too_old("KRN014", f"{what}: helper function {row.name}", row.version, number)
    else:
        error = UnsupportedFeature(
            "KRN014",
            f"{what}: helper function {row.name} cannot be called by programs of type {kind.name if kind else '?'}",
            errno=number,
            hint=f"the kernel says: {message}",
        )
    error.span, error.details = span, log
    return error


def span_of(program: ProgramSpec, insn: int) -> Span:
    """The source place of an instruction, by the program's line information; the entry's for an unknown one."""
    found: LineInfo | None = None
    for line in program.lines:
        if insn >= 0 and line.insn > insn:
            break
        if line.line:
            found = line
        if insn < 0:
            break
    if found is None:
        return Span("")
    return Span(found.file, found.line, max(found.column - 1, 0))
