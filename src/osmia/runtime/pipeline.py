"""From a program's declaration to a collection that fits this kernel, through the two caches.

``portable`` is the object any kernel can relocate, keyed on the program's sources and everything captured from them;
``fitted`` is relocated for one kernel, keyed on that and the kernel's build id. A fitted program that is cached
needs neither
the compiler nor BTF.
"""

from __future__ import annotations

import os
import time

from osmia.object.spec import CollectionSpec
from osmia.runtime.cache import Cache
from osmia.version import VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from osmia.btf import Btf
    from osmia.lang.program import ProgramDecl

_FORMAT = b"1"
"""Changes whenever the cached form of a spec changes."""


class Prepared:
    """A collection ready to load, and how it came to be.

    :ivar source: ``cache`` (fitted program), ``object cache`` (only relocated anew) or ``compiled``.
    :ivar seconds: time by step (``compile``, ``relocate``). :ivar notes: remarks for ``--verbose``.
    """

    __slots__ = ("notes", "seconds", "source", "spec")

    def __init__(self, spec: CollectionSpec, source: str, seconds: dict[str, float], notes: list[str]) -> None:
        self.spec = spec
        self.source = source
        self.seconds = seconds
        self.notes = notes


def compile_object(program: ProgramDecl, follow: bool = True) -> bytes:
    """The program as an ELF object, Osmia's own section included.

    :param follow: with the programs that follow a command's process tree, which only a run with a command needs.

    :raises CompileError: the program cannot be compiled exactly.
    """
    from osmia.compiler.codegen import compile_module
    from osmia.frontends.python import compile_program
    from osmia.object.meta import make_meta
    from osmia.object.spec import GlobalVar
    from osmia.object.writer import attach_meta

    module = compile_program(program, btf=_btf(), follow=follow)
    elf = compile_module(module)
    meta = make_meta(
        maps=module.maps.values(),
        events=module.events.values(),
        hooks={name: made.hook for name, made in module.functions.items() if made.hook is not None},
        global_vars=[GlobalVar(name, made.section, 0, made.layout) for name, made in module.globals.items()],
        extras=module.extras,
    )
    return attach_meta(elf, meta)


def intermediate(program: ProgramDecl, form: str) -> str:
    """The program's typed IR (``ir``) or LLVM's text (``llvm``)."""
    from osmia.compiler.codegen import llvm_ir
    from osmia.compiler.text import print_module
    from osmia.frontends.python import compile_program

    module = compile_program(program, btf=_btf())
    return print_module(module) if form == "ir" else llvm_ir(module)


def compile_spec(program: ProgramDecl, follow: bool = True) -> CollectionSpec:
    """The program as a portable spec, compiled now."""
    from osmia.object.elf import read_object

    return read_object(compile_object(program, follow), program.name)


def target_btf() -> Btf:
    """BTF of the running kernel.

    :raises BtfError: this kernel has none.
    """
    from osmia.btf import kernel_btf

    return kernel_btf(cache_dir=_btf_cache())


class _LazyBtf:
    """The kernel's BTF, opened when a program first asks for a kernel type: many never do."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(target_btf(), name)


def _btf() -> Any:
    """The kernel's types for the front end, ``None`` where this kernel tells none."""
    return _LazyBtf() if os.path.exists("/sys/kernel/btf/vmlinux") else None


def fit(spec: CollectionSpec) -> CollectionSpec:
    """The collection relocated for the running kernel.

    :raises RelocationError: the kernel lacks a type or field that the program needs.
    """
    if not any(program.core for program in spec.programs.values()):
        return spec
    from osmia.object.core import relocate

    return relocate(spec, target_btf())


def prepare(program: ProgramDecl, cache: Cache, follow: bool = True) -> Prepared:
    """The program's collection for the running kernel, from the caches where they have it."""
    from osmia.lang.key import source_key

    key = source_key(program, VERSION.encode() + _FORMAT + (b"+follow" if follow else b""))
    fitted_key = _digest(key + kernel_identity())
    stored = cache.load("programs", fitted_key)
    if stored is not None:
        return Prepared(CollectionSpec.from_plain(stored), "cache", {}, _notes(cache))
    seconds = {}
    started = time.perf_counter()
    stored = cache.load("objects", key)
    if stored is None:
        spec = compile_spec(program, follow)
        cache.store("objects", key, spec.plain())
        source = "compiled"
    else:
        spec = CollectionSpec.from_plain(stored)
        source = "object cache"
    seconds["compile"] = time.perf_counter() - started
    started = time.perf_counter()
    fitted = fit(spec)
    seconds["relocate"] = time.perf_counter() - started
    cache.store("programs", fitted_key, fitted.plain())
    return Prepared(fitted, source, seconds, _notes(cache))


def read_file(path: str) -> CollectionSpec:
    """An object file's portable spec.

    :raises ObjectError: OBJ codes for what is no BPF object; RUN020 for a file that cannot be read.
    """
    from osmia.diagnostics import ObjectError
    from osmia.object.elf import read_object

    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise ObjectError("RUN020", f"cannot read {path}: {error.strerror}", hint="check the path") from None
    name = os.path.basename(path).removesuffix(".o").removesuffix(".bpf")
    return read_object(data, name)


def kernel_identity() -> bytes:
    """What tells this kernel's build from every other: the build id note, else release and version."""
    try:
        with open("/sys/kernel/notes", "rb") as notes:
            return notes.read()
    except OSError:
        return repr(os.uname()[2:]).encode()


def _btf_cache() -> str | None:
    return Cache().folder("btf")


def _digest(data: bytes) -> bytes:
    from _blake2 import blake2b

    return blake2b(data, digest_size=20).digest()


def _notes(cache: Cache) -> list[str]:
    return [cache.note] if cache.note else []
