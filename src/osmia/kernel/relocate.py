"""Filling in what only a running kernel knows: descriptors of maps, addresses and BTF ids of kernel symbols."""

from __future__ import annotations

import os
from struct import pack_into

from osmia.abi import commands
from osmia.abi.uapi_bpf import BPF_PSEUDO_BTF_ID, BPF_PSEUDO_KFUNC_CALL, BPF_PSEUDO_MAP_FD, BPF_PSEUDO_MAP_VALUE
from osmia.diagnostics.errors import LoadError, RelocationError
from osmia.kernel import refusals, syscall
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from osmia.kernel.maps.base import Map
    from osmia.object.spec import ProgramSpec, Reloc

_WIDE_LOAD, _CALL = 0x18, 0x85
# A call to a kernel function that is not there; guarded by a check for it, the verifier never gets to it.
_MISSING_KFUNC = 2_000_000_000


class KernelSymbols:
    """Where the kernel's variables and functions are, looked up once per load. Owns descriptors of module BTF."""

    def __init__(self, cache_dir: str | None) -> None:
        self._cache_dir = cache_dir
        self._addresses: dict[str, int] | None = None
        self._module_fds: dict[str, int] = {}

    def close(self) -> None:
        """Gives up the descriptors of modules' types."""
        for fd in self._module_fds.values():
            os.close(fd)
        self._module_fds.clear()

    def address(self, name: str) -> int | None:
        """The address of a kernel symbol, None when there is none (or addresses are hidden)."""
        if self._addresses is None:
            self._addresses = {}
            try:
                with open("/proc/kallsyms", "rb") as file:
                    data = file.read()
            except OSError:
                data = b""
            for line in data.splitlines():
                parts = line.split(None, 3)
                if len(parts) >= 3:
                    self._addresses.setdefault(parts[2].decode("ascii", "replace"), int(parts[0], 16))
        return self._addresses.get(name) or None

    def type_id(self, name: str, *, function_only: bool) -> tuple[int, int] | None:
        """The BTF id of a kernel function or variable, and a descriptor of its module's BTF (0: the kernel's own)."""
        from osmia.btf.kernel import kernel_btf, module_btf, module_names
        from osmia.btf.types import Func, Var

        kinds = (Func,) if function_only else (Var, Func)
        base = kernel_btf(self._cache_dir)
        for kind in kinds:
            found = base.ids_by_name(name, kind)
            if found:
                return found[0], 0
        for module in module_names():
            types = module_btf(module, self._cache_dir)
            for kind in kinds:
                own = [number for number in types.ids_by_name(name, kind) if number >= base.end_id]
                if own:
                    return own[0], self.module_fd(module)
        return None

    def module_fd(self, module: str) -> int:
        """A descriptor of a module's BTF. :raises LoadError: KRN030 when the kernel lists none."""
        known = self._module_fds.get(module)
        if known is not None:
            return known
        number = 0
        try:
            while number := syscall.next_id(commands.BTF_GET_NEXT_ID, number):
                fd = syscall.fd_by_id(commands.BTF_GET_FD_BY_ID, number)
                if btf_name(fd) == module:
                    self._module_fds[module] = fd
                    return fd
                os.close(fd)
        except OSError as error:
            raise refusals.no_such_object("BTF object", number, error) from None
        raise LoadError("KRN030", f"the kernel lists no BTF object of module {module}")


def btf_name(fd: int) -> str:
    """The name of a loaded BTF object: of a module, ``vmlinux``, or empty."""
    room = bytearray(64)
    info = bytearray(32)
    pack_into("=QI", info, 16, syscall.address(room), len(room))
    syscall.object_info(fd, info)
    return bytes(room).partition(b"\0")[0].decode("ascii", "replace")


class Relocated:
    """A program's instructions ready to load. :ivar fd_array: descriptors that kfunc calls refer to by index."""

    __slots__ = ("fd_array", "insns")

    def __init__(self, insns: bytearray, fd_array: list[int]) -> None:
        self.insns = insns
        self.fd_array = fd_array


def relocate(program: ProgramSpec, maps: Mapping[str, Map], symbols: KernelSymbols) -> Relocated:
    """The instructions of a program with everything filled in.

    :raises RelocationError: KRN020 a symbol that this kernel does not have. :raises LoadError: KRN021 a reference
        that no map or instruction fits, KRN019 unresolved CO-RE relocations.
    """
    if program.core:
        raise LoadError(
            "KRN019",
            f"program '{clean(program.name)}' has {len(program.core)} CO-RE relocations that were not resolved",
            hint="resolve them for the running kernel before loading (osmia.object.core)",
        )
    result = Relocated(bytearray(program.insns), [])
    for reloc in program.relocs:
        if reloc.kind in ("call", "func"):
            continue
        at = reloc.insn * 8
        wanted = _CALL if reloc.kind == "kfunc" else _WIDE_LOAD
        if not 0 <= at <= len(result.insns) - (8 if wanted == _CALL else 16) or result.insns[at] != wanted:
            raise LoadError(
                "KRN021",
                f"instruction {reloc.insn} of program '{clean(program.name)}' cannot refer to {clean(reloc.name)}",
                hint="the object is damaged, or was changed after it was made",
            )
        if reloc.kind == "kfunc":
            _kfunc(result, program, reloc, symbols)
        elif reloc.kind == "ksym":
            _ksym(result, program, reloc, symbols)
        else:
            _map(result, program, reloc, maps)
    return result


def _map(result: Relocated, program: ProgramSpec, reloc: Reloc, maps: Mapping[str, Map]) -> None:
    name = ".kconfig" if reloc.kind == "kconfig" else reloc.name
    found = maps.get(name)
    if found is None or reloc.kind not in ("map", "map_value", "kconfig"):
        raise LoadError(
            "KRN021",
            f"program '{clean(program.name)}' refers to {clean(name)}, which the collection does not have",
            hint="maps: " + (", ".join(maps) or "none"),
        )
    if reloc.kind == "map":
        _set_wide(result.insns, reloc.insn, BPF_PSEUDO_MAP_FD, found.fileno(), 0)
    else:
        _set_wide(result.insns, reloc.insn, BPF_PSEUDO_MAP_VALUE, found.fileno(), reloc.addend)


def _ksym(result: Relocated, program: ProgramSpec, reloc: Reloc, symbols: KernelSymbols) -> None:
    typed = result.insns[reloc.insn * 8 + 1] >> 4 == BPF_PSEUDO_BTF_ID
    if typed:
        found = symbols.type_id(reloc.name, function_only=False)
        if found is not None:
            _set_wide(result.insns, reloc.insn, BPF_PSEUDO_BTF_ID, found[0], found[1])
            return
    else:
        address = symbols.address(reloc.name)
        if address is not None:
            _set_wide(result.insns, reloc.insn, 0, address & 0xFFFFFFFF, address >> 32)
            return
    if not reloc.weak:
        raise _missing(program, reloc, "symbol" if not typed else "variable with BTF")
    _set_wide(result.insns, reloc.insn, 0, 0, 0)


def _kfunc(result: Relocated, program: ProgramSpec, reloc: Reloc, symbols: KernelSymbols) -> None:
    found = symbols.type_id(reloc.name, function_only=True)
    at = reloc.insn * 8
    if found is None:
        if not reloc.weak:
            raise _missing(program, reloc, "function with BTF")
        result.insns[at + 1] &= 15
        pack_into("=hi", result.insns, at + 2, 0, _MISSING_KFUNC)
        return
    number, module = found
    index = 0
    if module:
        if not result.fd_array:
            result.fd_array.append(0)  # index 0 stands for the kernel itself
        if module not in result.fd_array:
            result.fd_array.append(module)
        index = result.fd_array.index(module)
    result.insns[at + 1] = result.insns[at + 1] & 15 | BPF_PSEUDO_KFUNC_CALL << 4
    pack_into("=hi", result.insns, at + 2, index, number)


def _missing(program: ProgramSpec, reloc: Reloc, what: str) -> RelocationError:
    from osmia.kernel import permissions

    hint = "declare it weak and check for it, if the program can do without it"
    if what == "symbol" and permissions.current().missing("syslog"):
        hint = "addresses of kernel symbols are hidden from this user; run as root"
    return RelocationError(
        "KRN020",
        f"this kernel has no {what} {clean(reloc.name)}, which program '{clean(program.name)}' needs",
        span=refusals.span_of(program, reloc.insn),
        hint=hint,
    )


def _set_wide(insns: bytearray, slot: int, source: int, low: int, high: int) -> None:
    at = slot * 8
    insns[at + 1] = insns[at + 1] & 15 | source << 4
    pack_into("=I", insns, at + 4, low & 0xFFFFFFFF)
    pack_into("=I", insns, at + 12, high & 0xFFFFFFFF)
