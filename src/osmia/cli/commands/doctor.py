"""``osmia doctor``: what this machine can do, and how to get what it cannot."""

from __future__ import annotations

import os
import sys

from osmia.cli.arguments import Parser
from osmia.cli.screen import Heading, columns, paint, table, write, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from osmia.kernel.probe import Row

_NO_PERMISSION = 3
_EPILOG = """\
Every answer comes from trying, in the kernel that runs, with the rights of who asks: small programs and maps are made
and closed again; nothing is attached. The exit code is 0 when programs can be run here, else 3.
"""
_PACKAGES = (
    ("llvmlite", "the compiler's back end"),
    ("numpy", "batches of events"),
    ("rich", "tables on terminals"),
    ("pyarrow", "Arrow and Parquet output"),
)
_OPTIONAL = {"pyarrow": "pip install 'osmia[arrow]'"}
_STYLES = {"yes": "good", "no": "dim", "forbidden": "bad", "unknown": "warn"}


class Group:
    """Answers of one kind.

    :ivar title: its heading. :ivar rows: the answers. :ivar detailed: those that are not available are listed one by
        one, with what was found; else they are gathered by what would help.
    """

    __slots__ = ("detailed", "rows", "title")

    def __init__(self, title: str, rows: Iterable[Row], detailed: bool = False) -> None:
        self.title = title
        self.rows = list(rows)
        self.detailed = detailed


def parser() -> Parser:
    """The command's arguments."""
    result = Parser(
        "doctor",
        "Say what this machine can do: rights, hooks, program types, map types, helpers, features.",
        epilog=_EPILOG,
    )
    result.add_argument("-a", "--all", action="store_true", help="list what is available too")
    result.add_argument("--json", action="store_true", help="everything, as JSON")
    result.add_argument(
        "--clean", action="store_true", help="only remove what ended runs left attached, and say what was removed"
    )
    return result


def main(words: list[str]) -> int:
    """Prints the answers; 0 when programs can be run here, 3 otherwise."""
    arguments = parser().parse_args(words)
    if arguments.clean:
        return _clean(arguments.json)
    from osmia.kernel.probe import can_run

    able, why = can_run()
    groups = _groups()
    software = _software()
    stale = _stale()
    if arguments.json:
        _print_json(able, why, groups, software, stale)
    else:
        _print(able, why, groups, software, stale, arguments.all)
    return 0 if able else _NO_PERMISSION


def _groups() -> list[Group]:
    from osmia.kernel import probe

    rights = probe.permissions()
    return [
        Group("Rights", [row for row in rights if row.area == "right"], detailed=True),
        Group("Settings", [row for row in rights if row.area == "setting"], detailed=True),
        Group("Kernel", probe.probe_system(), detailed=True),
        Group("Hooks", probe.probe_hooks(), detailed=True),
        Group("Program types", probe.probe_program_types()),
        Group("Map types", probe.probe_map_types()),
        Group("Helpers", probe.probe_helpers()),
        Group("Features", probe.probe_features()),
    ]


def _software() -> list[Row]:
    """The packages that Osmia uses, and the cache."""
    from importlib.metadata import PackageNotFoundError, version

    from osmia.kernel.probe import NO, YES, Row

    rows = []
    for name, what in _PACKAGES:
        try:
            rows.append(Row("software", name, YES, None, f"{version(name)}, {what}"))
        except PackageNotFoundError:
            rows.append(Row("software", name, NO, None, what, _OPTIONAL.get(name, f"pip install {name}")))
    return [*rows, _cache()]


def _cache() -> Row:
    from osmia.kernel.probe import NO, YES, Row
    from osmia.runtime.cache import Cache

    cache = Cache()
    cache.load("programs", b"\0" * 20)
    if cache.note:
        return Row(
            "software", "cache", NO, None, cache.note, "give the folder to this user alone, or set OSMIA_CACHE_DIR"
        )
    return Row("software", "cache", YES, None, cache.root)


def _tracepoints() -> dict[str, int]:
    """How many tracepoints each category has; nothing where tracefs cannot be read."""
    from osmia.diagnostics import AttachError
    from osmia.kernel import tracefs

    counts: dict[str, int] = {}
    try:
        for name in tracefs.tracepoints():
            category = name.partition(":")[0]
            counts[category] = counts.get(category, 0) + 1
    except AttachError:
        pass  # the row of the hook tells why
    return counts


def _stale() -> list[str]:
    """What ended runs left attached, in words."""
    from osmia.kernel import journal

    return [entry.describe() for entry in journal.entries() if not entry.alive]


def _clean(as_json: bool) -> int:
    from osmia.kernel import journal

    results = journal.clean_stale()
    if as_json:
        rows = [{"what": row.description, "removed": row.done, "problem": row.problem or None} for row in results]
        write_json({"cleaned": rows})
    else:
        for row in results:
            if row.problem:
                write(f"{paint('bad', 'not removed')}: {row.description}: {row.problem}\n")
            else:
                write(f"{'removed' if row.done else 'gone already'}: {row.description}\n")
        if not results:
            write("nothing to remove\n")
    return 1 if any(row.problem for row in results) else 0


# -- output ------------------------------------------------------------------------------------------------------------


def _print_json(able: bool, why: str, groups: Sequence[Group], software: Sequence[Row], stale: list[str]) -> None:
    rows = [row for group in groups for row in group.rows]
    body: dict[str, Any] = {**_machine(), "can_run": able, "why_not": None if able else why}
    body["rows"] = [row.plain() for row in [*software, *rows]]
    body["tracepoints"] = _tracepoints()
    body["left_behind"] = stale
    write_json(body)


def _machine() -> dict[str, str]:
    from osmia.version import VERSION

    system = os.uname()
    python = ".".join(str(part) for part in sys.version_info[:3])
    return {"osmia": VERSION, "kernel": system.release, "machine": system.machine, "python": python}


def _print(
    able: bool, why: str, groups: Sequence[Group], software: Sequence[Row], stale: Sequence[str], everything: bool
) -> None:
    facts = _machine()
    write(f"Osmia {facts['osmia']}, Linux {facts['kernel']} {facts['machine']}, Python {facts['python']}\n")
    if able:
        write(paint("good", "Programs can be run here.") + "\n")
    else:
        write(f"{paint('bad', 'Programs cannot be run here')}: {why}\n")
    for group in [Group("Software", software, detailed=True), *groups]:
        # Settings limit only those who lack rights.
        if group.title != "Settings" or everything or not able:
            _print_group(group, everything)
    if everything:
        _print_tracepoints(_tracepoints())
    for what in stale:
        write(f"\nleft by an ended run: {what}")
    if stale:
        write("\nosmia doctor --clean removes it\n")
    if not everything:
        write("\n" + paint("dim", "What is available is listed by osmia doctor --all.") + "\n")


def _print_tracepoints(counts: dict[str, int]) -> None:
    if counts:
        write(f"\n{paint('bold', 'Tracepoints')}: {sum(counts.values())} in {len(counts)} categories\n")
        write(columns(_listed([f"{name}:* ({count})" for name, count in counts.items()]), indent=4) + "\n")


def _print_group(group: Group, everything: bool) -> None:
    there = [row for row in group.rows if row.status == "yes"]
    missing = [row for row in group.rows if row.status != "yes"]
    write(f"\n{paint('bold', group.title)}: {len(there)} of {len(group.rows)}\n")
    if group.detailed:
        shown = group.rows if everything else missing
        if shown:
            headings = [Heading("  STATUS"), Heading("NAME"), Heading("FOUND", wide=True)]
            table(
                [*headings, Heading("HOW TO GET IT", wide=True)],
                [(f"  {row.status}", row.name, row.reason or "-", row.remedy or "-") for row in shown],
            )
        return
    for status, how, names in _gathered(missing):
        text = f"{status}: {how}" if how else status
        write(f"  {paint(_STYLES[status], text)}\n{columns(_listed(names), indent=4)}\n")
    if everything and there:
        write(f"  {paint('good', 'yes')}\n{columns(_listed([row.name for row in there]), indent=4)}\n")


def _gathered(rows: Iterable[Row]) -> list[tuple[str, str, list[str]]]:
    """Names by status and by what would help, in the order of their first occurrence."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        found.setdefault((row.status, row.remedy), []).append(row.name)
    return [(status, how, names) for (status, how), names in found.items()]


def _listed(names: Sequence[str]) -> list[str]:
    return [f"{name}," for name in names[:-1]] + [names[-1]]
