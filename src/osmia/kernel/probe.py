"""What the running kernel can do for this process: program types, map types, helpers, hooks, features, rights.

A probe asks the kernel itself, for distributions carry features back and builds leave them out. Whatever a probe loads
or makes is closed before it returns; nothing is attached to what others use. Unprivileged users are told ``forbidden``
and how to get the right. Answers are kept for the life of the process (:func:`forget` drops them).
"""

from __future__ import annotations

from osmia.kernel import probe_rows
from osmia.kernel.probe_rows import AREAS, FORBIDDEN, NO, UNKNOWN, YES, Row, contradictions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from osmia.kernel.probe_programs import Loader

__all__ = [
    "AREAS",
    "FORBIDDEN",
    "NO",
    "UNKNOWN",
    "YES",
    "Row",
    "can_run",
    "contradictions",
    "find",
    "forget",
    "permissions",
    "probe_all",
    "probe_features",
    "probe_helpers",
    "probe_hooks",
    "probe_map_types",
    "probe_program_types",
    "probe_system",
    "use_cache_dir",
]

_known: dict[str, list[Row]] = {}
_state: dict[str, Loader] = {}
_folder: list[str | None] = [None]


def use_cache_dir(folder: str | None) -> None:
    """A private folder in which the index of the kernel's types is kept between processes (saves some 60 ms)."""
    _folder[0] = folder


def forget() -> None:
    """Asks the kernel again next time: rights, settings or mounts may have changed."""
    _known.clear()
    _state.clear()
    probe_rows.config.forget()


def probe_all() -> list[Row]:
    """Everything, in the order of :data:`AREAS`: rights, kernel, hooks, program types, map types, helpers, features.

    Takes about a second, most of it for the helpers: every program type is asked for each.
    """
    return [
        *permissions(), *probe_system(), *probe_hooks(), *probe_program_types(), *probe_map_types(), *probe_helpers(),
        *probe_features(),
    ]  # fmt: skip


def permissions() -> list[Row]:
    """Areas ``right`` (capabilities, user namespace, lockdown, seccomp) and ``setting`` (sysctls and limits)."""
    from osmia.kernel.probe_system import rights

    return _once("permissions", lambda _: rights())


def probe_system() -> list[Row]:
    """Area ``kernel``: ``bpf``, ``btf``, ``module btf``, ``jit``, ``ring buffer``, ``run statistics``, ``tracefs``,
    ``cgroup2``, ``bpffs``, ``configuration``."""
    from osmia.kernel.probe_system import system

    return _once("system", system)


def probe_hooks() -> list[Row]:
    """Area ``hook``: by the names of the decorators (``tracepoint``, ``uprobe``, ``xdp``, ``cgroup connect4``,
    ``iter task``), and ways to attach that these choose from (``tcx``, ``clsact``, ``xdp_link``, ``uprobe_multi``)."""
    from osmia.kernel.probe_hooks import hooks

    return _once("hooks", hooks)


def probe_program_types() -> list[Row]:
    """Area ``program type``: whether a program of each type loads."""
    from osmia.kernel.probe_programs import program_types

    return _once("program types", program_types)


def probe_map_types() -> list[Row]:
    """Area ``map type``: whether a map of each type can be made."""
    from osmia.kernel.probe_maps import map_types

    return _once("map types", map_types)


def probe_helpers(prog_type: str = "", everything: bool = False) -> list[Row]:
    """Area ``helper``: what the verifier says of calls.

    :param prog_type: of programs of this type, those that may call it by the table or by this kernel; without, every
        helper once, ``yes`` where programs of any type may call it.
    :param everything: rows also for helpers that are not for this type.
    :raises UsageError: ABI001 for an unknown program type.
    """
    from osmia.kernel.probe_programs import all_helpers, helper_rows

    if not prog_type:
        types = probe_program_types()
        return _once("helpers", lambda loader: all_helpers(loader, types))
    from osmia.abi import prog_types

    name = prog_types.prog_type(prog_type).name
    return _once(f"helpers {name} {everything}", lambda loader: helper_rows(loader, name, everything))


def probe_features() -> list[Row]:
    """Area ``feature``: every row of ``abi.kernel_versions``, asked by the probe that it names."""
    from osmia.kernel.probe_features import features

    rows = probe_hooks()
    return _once("features", lambda loader: features(loader, rows))


def find(area: str, name: str) -> Row | None:
    """One row by area and name, None when there is none. Asks no more than that area."""
    ask: dict[str, Callable[[], list[Row]]] = {
        probe_rows.RIGHT: permissions, probe_rows.SETTING: permissions, probe_rows.KERNEL: probe_system,
        probe_rows.HOOK: probe_hooks, probe_rows.PROGRAM_TYPE: probe_program_types,
        probe_rows.MAP_TYPE: probe_map_types, probe_rows.HELPER: probe_helpers, probe_rows.FEATURE: probe_features,
    }  # fmt: skip
    rows = ask[area]() if area in ask else []
    return next((row for row in rows if row.area == area and row.name == name), None)


def can_run() -> tuple[bool, str]:
    """Whether this process can load and attach tracing programs, and why not, with the way out.

    Asks for the least that tools need: a map, a program at a tracepoint. Takes a few milliseconds.
    """
    from osmia.abi import map_types
    from osmia.kernel.probe_hooks import tracepoint
    from osmia.kernel.probe_maps import MapMaker, map_type

    loader = _loader()
    maker = MapMaker(loader)
    try:
        rows = [map_type(maker, map_types.map_type("array")), tracepoint(loader)]
    finally:
        maker.close()
    for row in rows:
        if not row.ok:
            return False, f"{row.area} {row.name}: {row.reason}" + (f"; {row.remedy}" if row.remedy else "")
    return True, ""


def _once(key: str, ask: Callable[[Loader], list[Row]]) -> list[Row]:
    if key not in _known:
        _known[key] = ask(_loader())
    return list(_known[key])


def _loader() -> Loader:
    from osmia.kernel.probe_programs import Loader as Made

    if "loader" not in _state:
        _state["loader"] = Made(_folder[0])
    return _state["loader"]
