"""What in the kernel's BTF a program attaches to: tracepoint types, functions, iterators, security hooks."""

from __future__ import annotations

from osmia.diagnostics.errors import AttachError
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.btf.reader import Btf
    from osmia.btf.types import BtfType
    from osmia.kernel.relocate import KernelSymbols
    from osmia.object.spec import ProgramSpec

# Attach types whose target is a BTF type: prefix of its name, what it is.
_PREFIXES = {
    "trace_raw_tp": ("btf_trace_", "tracepoint"),
    "trace_iter": ("bpf_iter_", "iterator"),
    "lsm_mac": ("bpf_lsm_", "security hook"),
    "lsm_cgroup": ("bpf_lsm_", "security hook"),
}


def attach_target(program: ProgramSpec, symbols: KernelSymbols, cache_dir: str | None) -> tuple[int, int]:
    """The BTF id that a program is loaded for, and a descriptor of its module's BTF (0: the kernel's own).

    :raises AttachError: HOOK005, there is no such target; the hint has the nearest names. HOOK006, none is given.
    """
    from osmia.abi import attach_types
    from osmia.btf.types import Func, Typedef

    row = attach_types.TABLE.find(program.attach_type)
    attach = "" if row is None else str(row.name)
    prefix, what = _PREFIXES.get(attach, ("", "function"))
    target = str(program.hook.options.get("function", "") or program.hook.target)
    if not target:
        raise AttachError("HOOK006", f"program '{clean(program.name)}' does not say which kernel {what} it attaches to")
    module, _, name = target.rpartition(":")
    if what == "tracepoint":
        module = ""  # the part before the colon is the tracepoint's category
    kind: type[BtfType] = Typedef if what == "tracepoint" else Func
    wanted = prefix + name.removeprefix(prefix)
    found = _find(wanted, kind, module, symbols, cache_dir)
    if found is None:
        raise _no_target(what, target, prefix, name, kind, cache_dir)
    return found


def _find(
    wanted: str, kind: type[BtfType], module: str, symbols: KernelSymbols, cache_dir: str | None
) -> tuple[int, int] | None:
    from osmia.btf.kernel import kernel_btf, module_btf, module_names

    base = kernel_btf(cache_dir)
    if module in ("", "vmlinux"):
        ids = base.ids_by_name(wanted, kind)
        if ids:
            return ids[0], 0
    for name in module_names():
        if module not in ("", name):
            continue
        types = module_btf(name, cache_dir)
        own = [number for number in types.ids_by_name(wanted, kind) if number >= base.end_id]
        if own:
            return own[0], symbols.module_fd(name)
    return None


def _no_target(
    what: str, target: str, prefix: str, name: str, kind: type[BtfType], cache_dir: str | None
) -> AttachError:
    from osmia.btf.kernel import kernel_btf

    near = nearest(kernel_btf(cache_dir), prefix, name, kind)
    hint = f"did you mean {', '.join(near)}?" if near else f"the kernel's BTF has no such {what}"
    if not near and what == "iterator":
        hint = "iterators: " + ", ".join(names(kernel_btf(cache_dir), prefix, kind))
    return AttachError("HOOK005", f"this kernel has no {what} {clean(target)!r} in its BTF", errno=2, hint=hint)


def nearest(types: Btf, prefix: str, name: str, kind: type[BtfType]) -> list[str]:
    """Targets with names near to one, without their prefix."""
    from osmia.diagnostics.text import suggest

    if not prefix:
        return types.nearest_names(name, kind)
    return suggest(name, names(types, prefix, kind))


def names(types: Btf, prefix: str, kind: type[BtfType]) -> list[str]:
    """All targets of a prefix, sorted, without it."""
    found = {types.name_of(number) for number in types.ids_of_kind(kind)}
    return sorted(name[len(prefix) :] for name in found if name.startswith(prefix))
