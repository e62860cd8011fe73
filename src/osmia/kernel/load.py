"""Loading: a collection's spec becomes live maps and programs, all of them or none."""

from __future__ import annotations

import errno
import os
from struct import error as StructError

from osmia.diagnostics.errors import LoadError, UsageError
from osmia.kernel import btf_blob, refusals, release, relocate, syscall
from osmia.kernel.create import DEFAULT_RING_BYTES, create_map
from osmia.kernel.program import Program
from osmia.kernel.words import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any, Self

    from osmia.kernel.maps.base import Map
    from osmia.object.spec import CollectionSpec, GlobalVar, MapSpec, ProgramSpec

_FIRST_LOG, _MOST_LOG = 64 << 10, 1 << 30
_BTF_TARGETS = frozenset(("tracing", "lsm"))


class LoadOptions:
    """How to load.

    :ivar programs: names of the programs to load; None: all but those with ``autoload`` off.
    :ivar maps: live maps to use instead of making them, by name; the caller goes on owning them.
    :ivar entries: ``max_entries`` by map name, instead of the spec's.
    :ivar constants: values of global variables by name, set before the programs are verified.
    :ivar ring_bytes: size of ring buffers that the spec leaves open.
    :ivar log_level: 1 (instructions) or 2 (more), plus 4 (statistics), to keep the log of programs that load as well.
    :ivar cache_dir: a private folder for the index of the kernel's types.
    :ivar kconfig: the kernel's settings, instead of the running kernel's.
    """

    __slots__ = ("cache_dir", "constants", "entries", "kconfig", "log_level", "maps", "programs", "ring_bytes")

    def __init__(
        self,
        *,
        programs: Collection[str] | None = None,
        maps: Mapping[str, Map] | None = None,
        entries: Mapping[str, int] | None = None,
        constants: Mapping[str, Any] | None = None,
        ring_bytes: int = DEFAULT_RING_BYTES,
        log_level: int = 0,
        cache_dir: str | None = None,
        kconfig: Mapping[str, str] | None = None,
    ) -> None:
        self.programs = programs
        self.maps = maps or {}
        self.entries = entries or {}
        self.constants = constants or {}
        self.ring_bytes = ring_bytes
        self.log_level = log_level
        self.cache_dir = cache_dir
        self.kconfig = kconfig


class LoadedCollection:
    """What was loaded. Close it, or use it in a ``with`` block.

    :ivar maps: live maps by name. :ivar programs: live programs by name. :ivar notes: remarks for the user.
    """

    def __init__(self, spec: CollectionSpec) -> None:
        self.spec = spec
        self.maps: dict[str, Map] = {}
        self.programs: dict[str, Program] = {}
        self.notes: list[str] = []
        self._borrowed: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<LoadedCollection {self.spec.name!r}: {len(self.programs)} programs, {len(self.maps)} maps>"

    def close(self) -> None:
        """Closes programs and maps (those it did not make stay open). Links are closed by whoever made them."""
        for program in self.programs.values():
            program.close()
        for name, map_ in self.maps.items():
            if name not in self._borrowed:
                map_.close()

    def get_global(self, name: str) -> Any:
        """The value of a global variable. :raises UsageError: KRN023 when there is none."""
        variable, map_ = self._variable(name)
        return map_.read(variable.offset, variable.layout)

    def set_global(self, name: str, value: Any) -> None:
        """Sets a global variable. :raises UsageError: KRN023. :raises MapError: MAP005 for a constant, MAP006."""
        variable, map_ = self._variable(name)
        map_.write(variable.offset, variable.layout, value)

    def _variable(self, name: str) -> tuple[GlobalVar, Any]:
        variable = self.spec.global_vars.get(name)
        if variable is None or variable.map_name not in self.maps:
            raise _no_variable(self.spec, name)
        return variable, self.maps[variable.map_name]


def load(spec: CollectionSpec, options: LoadOptions | None = None) -> LoadedCollection:
    """Makes the maps and loads the programs of a collection. When anything fails, nothing stays.

    CO-RE relocations must have been resolved; everything else that depends on the kernel is filled in here.

    :raises LoadError: the verifier's refusal (KRN010, with the source line and the whole log in ``details``), or one of
        the other ``KRN`` errors; ``HOOK`` errors where the target is named when loading. The message says the way out.
    """
    options = options or LoadOptions()
    chosen = _chosen(spec, options)
    if not release.has((5, 11)):
        _lift_memory_limit()
    result = LoadedCollection(spec)
    symbols = relocate.KernelSymbols(options.cache_dir)
    btf_fd = -1
    try:
        lines: dict[str, bytes] = {}
        if spec.btf:
            btf_fd = _load_btf(spec, chosen, lines, result)
        _make_maps(spec, options, max(btf_fd, 0), result)
        for program in chosen:
            result.programs[program.name] = _load_program(
                program, result.maps, symbols, btf_fd, lines.get(program.name, b""), options
            )
        _connect(spec, result)
    except BaseException:
        result.close()
        raise
    finally:
        symbols.close()
        if btf_fd >= 0:
            os.close(btf_fd)
    return result


def _chosen(spec: CollectionSpec, options: LoadOptions) -> list[ProgramSpec]:
    if options.programs is None:
        return [program for program in spec.programs.values() if program.hook.options.get("autoload", True)]
    for name in options.programs:
        if name not in spec.programs:
            raise UsageError(
                "KRN023",
                f"'{clean(spec.name)}' has no program '{clean(name)}'",
                hint="programs: " + (", ".join(spec.programs) or "none"),
            )
    return [program for program in spec.programs.values() if program.name in options.programs]


def _no_variable(spec: CollectionSpec, name: str) -> UsageError:
    from osmia.diagnostics.text import did_you_mean

    return UsageError(
        "KRN023",
        f"'{clean(spec.name)}' has no global variable '{clean(name)}'",
        hint=did_you_mean(name, spec.global_vars) or "variables: " + (", ".join(spec.global_vars) or "none"),
    )


def _lift_memory_limit() -> None:
    """Before Linux 5.11 maps and programs count as locked memory, of which a process may have little."""
    import resource

    try:  # noqa: SIM105
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass  # not root: the kernel will say so if the limit is too small


# BTF


def _load_btf(
    spec: CollectionSpec, chosen: list[ProgramSpec], lines: dict[str, bytes], result: LoadedCollection
) -> int:
    try:
        blob = btf_blob.BtfBlob(spec.btf)
        for program in chosen:
            lines[program.name] = btf_blob.line_info(program, blob)
        data = blob.finish()
    except (ValueError, IndexError, StructError) as error:
        raise LoadError("KRN018", f"the type information of '{clean(spec.name)}' is malformed: {error}") from None
    fd = syscall.btf_load(data)
    if fd >= 0:
        return fd
    log = bytearray(_FIRST_LOG)
    number = -syscall.btf_load(data, log_level=1, log=log)
    text = _log_text(log)
    if number == errno.EPERM:
        raise refusals.not_permitted(f"cannot load the type information of '{clean(spec.name)}'", ("bpf",))
    if not release.has((6, 0)) and not _needs_btf(spec):
        # A kernel that does not know all kinds of types yet; programs run without them.
        result.notes.append("this kernel does not know all kinds of type information; loaded without it")
        lines.clear()
        return -1
    words = [line.strip() for line in text.splitlines() if line.strip()]
    raise LoadError(
        "KRN018",
        f"the kernel refused the type information of '{clean(spec.name)}': "
        + clean(words[-1] if words else refusals.error_text(number)),
        errno=number,
        details=text,
    )


def _needs_btf(spec: CollectionSpec) -> bool:
    from osmia.abi import map_types

    return any(map_types.map_type(item.kind).btf_only for item in spec.maps.values())


# Maps


def _make_maps(spec: CollectionSpec, options: LoadOptions, btf_fd: int, result: LoadedCollection) -> None:
    contents = _constants(spec, options)
    for name, item in spec.maps.items():
        given = options.maps.get(name)
        if given is not None:
            _check_fits(item, given)
            result.maps[name] = given
            result._borrowed.add(name)
            continue
        if item.section == ".kconfig" and item.role == "kconfig":
            from osmia.kernel import kconfig

            contents[name] = kconfig.values(spec, options.kconfig)
        changed = contents.get(name)
        if changed is not None:
            item = _with_contents(item, changed)  # noqa: PLW2901
        result.maps[name] = create_map(
            item, btf_fd=btf_fd, entries=options.entries.get(name, 0), ring_bytes=options.ring_bytes
        )


def _with_contents(item: MapSpec, data: bytes) -> MapSpec:
    from osmia.object.spec import MapSpec as Spec

    copy = Spec.from_plain(item.plain())
    copy.contents = [(bytes(4), data)]
    return copy


def _constants(spec: CollectionSpec, options: LoadOptions) -> dict[str, bytes]:
    """The contents of data sections with the option's values set."""
    changed: dict[str, bytearray] = {}
    for name, value in options.constants.items():
        variable = spec.global_vars.get(name)
        if variable is None or variable.map_name not in spec.maps:
            raise _no_variable(spec, name)
        item = spec.maps[variable.map_name]
        data = changed.get(item.name)
        if data is None:
            first = item.contents[0][1] if item.contents else b""
            data = bytearray(first.encode() if isinstance(first, str) else first)
            data.extend(bytes(item.value_size - len(data)))
            changed[item.name] = data
        try:
            packed = variable.layout.pack(value)
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise UsageError(
                "KRN023", f"{value!r} is no value for '{clean(name)}': {error}", hint=f"it is {variable.layout}"
            ) from None
        data[variable.offset : variable.offset + len(packed)] = packed
    return {name: bytes(data) for name, data in changed.items()}


def _check_fits(item: MapSpec, given: Map) -> None:
    facts = (
        ("kind", given.kind, item.kind),
        ("key size", given.key_size, item.key_size),
        ("value size", given.value_size, item.value_size),
    )
    for what, have, want in facts:
        if have != want:
            raise LoadError(
                "KRN024",
                f"the map given for '{clean(item.name)}' has another {what}: {have}, not {want}",
                errno=errno.EINVAL,
            )


def _connect(spec: CollectionSpec, result: LoadedCollection) -> None:
    """Puts programs into prog arrays and maps into maps of maps."""
    for name, item in spec.maps.items():
        if name in result._borrowed:
            continue
        map_ = result.maps[name]
        for key, value in item.contents:
            if not isinstance(value, str):
                continue
            target: Any = result.programs.get(value) if item.kind == "prog_array" else result.maps.get(value)
            if target is None:
                if value in spec.programs:
                    continue  # not among the programs to load: the slot stays empty
                raise LoadError(
                    "KRN021",
                    f"map '{clean(name)}' is to hold '{clean(value)}', which the collection does not have",
                )
            calls = syscall.MapCalls(map_.fileno(), map_.key_size, 4)
            calls.key[:], calls.value[:] = key, target.fileno().to_bytes(4, "little")
            failed = calls.update()
            if failed:
                map_._failed(-failed, f"put '{value}' into")


# Programs


def _load_program(
    program: ProgramSpec,
    maps: Mapping[str, Map],
    symbols: relocate.KernelSymbols,
    btf_fd: int,
    lines: bytes,
    options: LoadOptions,
) -> Program:
    ready = relocate.relocate(program, maps, symbols)
    from osmia.abi import prog_types

    row = prog_types.TABLE.find(program.prog_type)
    if not program.prog_type or row is None:
        raise LoadError(
            "KRN012",
            f"program '{clean(program.name)}' does not say what type it is",
            hint=f"its section {clean(program.section)!r} names none; use one such as tracepoint/sched/sched_switch",
        )
    target, target_fd = 0, 0
    if row.name in _BTF_TARGETS:
        from osmia.kernel.targets import attach_target

        target, target_fd = attach_target(program, symbols, options.cache_dir)
    elif row.name == "ext":
        target, target_fd = _extended(program)
    functions = btf_blob.func_info(program) if btf_fd >= 0 else b""

    version = 0 if release.has((5, 0)) else release.code()

    def attempt(log_level: int, log: bytearray | None) -> tuple[int, int]:
        return syscall.prog_load(
            program.prog_type, ready.insns, program.license, name=syscall.object_name(program.name),
            attach_type=program.attach_type, flags=program.flags, kernel_version=version,
            btf_fd=max(btf_fd, 0) if functions or lines else 0, func_info=functions, line_info=lines,
            attach_btf_id=target, attach_fd=target_fd, fd_array=ready.fd_array, log_level=log_level, log=log,
        )  # fmt: skip

    result, text = -1, ""
    if not options.log_level:
        result, _ = attempt(0, None)
    if result < 0:
        result, text = _with_log(attempt, options.log_level or 1, result)
    if result < 0:
        raise refusals.program_refused(program, -result, text)
    return Program(result, program.name, program.prog_type, program.attach_type, program, text)


def _with_log(attempt: Any, level: int, first: int) -> tuple[int, str]:
    """Loads with a log, whose buffer grows until the whole log fits.

    A program that is too complex (``first`` says E2BIG) takes the verifier seconds and its log tens of megabytes: of
    that one the end has to do, which kernels that tell the log's true size (Linux 6.4) keep in the buffer.
    """
    size = _FIRST_LOG
    while True:
        log = bytearray(size)
        result, true_size = attempt(level, log)
        if result == -errno.ENOSPC and first == -errno.E2BIG and true_size:
            return first, _log_text(log)
        if result != -errno.ENOSPC or size >= _MOST_LOG:
            return result, _log_text(log)
        size = min(max(true_size + 1, size * 4), _MOST_LOG)


def _log_text(log: bytearray) -> str:
    end = log.find(0)
    return bytes(log if end < 0 else log[:end]).decode("utf-8", "backslashreplace")


def _extended(program: ProgramSpec) -> tuple[int, int]:
    """For programs that replace a function of another one: that function's type id and the other's descriptor."""
    target = program.hook.options.get("program")
    if target is None or not hasattr(target, "fileno"):
        raise LoadError(
            "KRN021",
            f"program '{clean(program.name)}' does not say which live program it extends",
            hint="give the hook the option program=",
        )
    from osmia.kernel.inspect import function_type

    return function_type(target, program.hook.target), target.fileno()
