"""``osmia ps``: the programs, maps and links in the kernel, with run statistics and owners."""

from __future__ import annotations

import argparse
import sys

from osmia.cli.arguments import Parser, completes
from osmia.cli.screen import Heading, paint, table, write, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_SORT_KEYS = ("id", "name", "type", "time", "runs", "mean", "memory")
_EPILOG = """\
Run statistics cost every program some 20 ns a run, so the kernel keeps them only when asked: for the time of
--stats, or as long as the sysctl kernel.bpf_stats_enabled is 1. Owners are the processes that hold a descriptor;
a program without one is held by a link, a pin or an attachment.
"""


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("ps", "List loaded programs; with --maps, --links or --all what else is loaded.", epilog=_EPILOG)
    what = result.add_argument_group("what to list")
    what.add_argument("--programs", action="store_true", help="programs (this is the default)")
    what.add_argument("--maps", action="store_true", help="maps")
    what.add_argument("--links", action="store_true", help="links: what is attached where")
    what.add_argument("-a", "--all", action="store_true", help="programs, maps and links")
    what.add_argument("-n", "--name", metavar="TEXT", default="", help="only those whose name contains this text")
    completes(what.add_argument("--pid", type=int, metavar="PID", help="only those that this process holds"), "pid")
    how = result.add_argument_group("how")
    how.add_argument("--sort", choices=_SORT_KEYS, default="id", metavar="KEY", help=", ".join(_SORT_KEYS))
    how.add_argument("--stats", type=_seconds, metavar="SECONDS", help="count runs for this time and show them")
    how.add_argument("--json", action="store_true", help="the same as JSON")
    return result


def main(words: list[str]) -> int:
    """Prints the lists."""
    arguments = parser().parse_args(words)
    chosen = {kind for kind in ("programs", "maps", "links") if getattr(arguments, kind) or arguments.all}
    found = _gather(chosen or {"programs"}, arguments)
    if arguments.json:
        write_json(found)
        return 0
    for at, (kind, rows) in enumerate(found.items()):
        if len(found) > 1:
            write(("\n" if at else "") + paint("bold", kind.capitalize()) + "\n")
        if rows:
            {"programs": _print_programs, "maps": _print_maps, "links": _print_links}[kind](rows)
        else:
            write(f"no {kind}\n")
    if sys.stdout.isatty() and not arguments.stats and not any(row["run_count"] for row in found.get("programs", ())):
        write(paint("dim", "Runs are not counted; osmia ps --stats 5 counts for five seconds.") + "\n")
    return 0


def _gather(chosen: set[str], arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Rows of each kind, as plain data, selected and sorted."""
    from osmia.kernel import inspect

    links = [info.plain() for info in inspect.links()] if chosen & {"programs", "links"} else []
    found: dict[str, list[dict[str, Any]]] = {}
    if "programs" in chosen:
        found["programs"] = _programs(arguments.stats)
    if "maps" in chosen:
        found["maps"] = [info.plain() for info in inspect.maps()]
    if "links" in chosen:
        names = {info.id: info.name for info in inspect.programs()}
        found["links"] = [{**row, "program": names.get(row["prog_id"], "")} for row in links]
    owners, pins = inspect.owners(), inspect.pinned()
    for kind, rows in found.items():
        for row in rows:
            key = (kind[:-1], row["id"])
            row["owners"] = [{"pid": pid, "comm": comm} for pid, comm in sorted(owners.get(key, ()))]
            row["pins"] = sorted(pins.get(key, ()))
        rows[:] = [row for row in rows if _wanted(row, arguments)]
        rows.sort(key=lambda row: _sort_key(row, arguments.sort))
    if "programs" in found:
        _add_places(found["programs"], links)
    return found


def _programs(seconds: float | None) -> list[dict[str, Any]]:
    """All programs; with ``seconds`` their statistics are those of that time."""
    from osmia.kernel import inspect

    rows = []
    if seconds is None:
        for info in inspect.programs():
            runs, spent = info.run_count, info.run_time_ns
            rows.append({**info.plain(), "run_ns": round(spent / runs, 1) if runs else None})
        return rows
    for run in inspect.stats(seconds):
        row = run.program.plain()
        row.update(run_count=run.runs, run_time_ns=run.time_ns, recursion_misses=run.misses)
        row.update(run_ns=round(run.mean_ns, 1) if run.runs else None, cpu=round(run.cpu, 6), seconds=run.seconds)
        rows.append(row)
    return rows


def _wanted(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    if arguments.pid is not None and all(owner["pid"] != arguments.pid for owner in row["owners"]):
        return False
    return arguments.name in (row["name"] if "name" in row else f"{row['program']} {row['target']}")


def _sort_key(row: dict[str, Any], key: str) -> tuple[Any, ...]:
    """By number or name ascending, by amounts descending; lists without such a column stay by id."""
    if key in ("time", "runs", "mean", "memory"):
        column = {"time": "run_time_ns", "runs": "run_count", "mean": "run_ns"}.get(key, key)
        return (-(row.get(column) or 0), row["id"])
    if key == "name":
        return (row.get("name", row.get("program", "")), row["id"])
    return (row["kind"], row["id"]) if key == "type" else (row["id"],)


def _add_places(programs: list[dict[str, Any]], links: list[dict[str, Any]]) -> None:
    """Where each program is attached: by its links, else by perf events that its owners hold."""
    from osmia.diagnostics import OsmiaError
    from osmia.kernel.debug_info import perf_attachments
    from osmia.kernel.inspect import type_name

    places: dict[int, list[str]] = {}
    for row in links:
        places.setdefault(row["prog_id"], []).append(_place(row))
    unknown = {owner["pid"] for row in programs if row["id"] not in places for owner in row["owners"]}
    for number, texts in perf_attachments(sorted(unknown)).items():
        places.setdefault(number, []).extend(texts)
    for row in programs:
        row["attached"] = sorted(set(places.get(row["id"], [])))
        row["made_for"] = ""
        if row["attach_btf_id"]:
            try:
                row["made_for"] = type_name(row["attach_btf_obj_id"], row["attach_btf_id"])
            except OsmiaError:
                continue  # the module it was made for is gone


def _place(row: dict[str, Any]) -> str:
    what = row["attach_type"] or row["kind"]
    return f"{what} {row['target']}".strip()


def _print_programs(rows: Sequence[dict[str, Any]]) -> None:
    headings = [
        Heading("ID", right=True), Heading("TYPE"), Heading("NAME"), Heading("RUNS", right=True),
        Heading("TIME(MS)", right=True), Heading("NS/RUN", right=True), Heading("MEMORY", right=True),
        Heading("OWNER", wide=True), Heading("ATTACHED", wide=True),
    ]  # fmt: skip
    table(
        headings,
        [
            (
                str(row["id"]),
                row["kind"],
                row["name"] or "-",
                f"{row['run_count']:,}" if row["run_count"] else "-",
                f"{row['run_time_ns'] / 1e6:,.3f}" if row["run_count"] else "-",
                f"{row['run_ns']:,.0f}" if row["run_count"] else "-",
                _size(row["memory"]),
                _owner_text(row),
                ", ".join(row["attached"]) or "-",
            )
            for row in rows
        ],
    )


def _print_maps(rows: Sequence[dict[str, Any]]) -> None:
    headings = [
        Heading("ID", right=True), Heading("TYPE"), Heading("NAME"), Heading("KEY", right=True),
        Heading("VALUE", right=True), Heading("ENTRIES", right=True), Heading("MEMORY", right=True), Heading("FLAGS"),
        Heading("OWNER", wide=True),
    ]  # fmt: skip
    table(
        headings,
        [
            (
                str(row["id"]), row["kind"], row["name"] or "-", str(row["key_size"]), str(row["value_size"]),
                f"{row['max_entries']:,}", _size(row["memory"]), _flags(row), _owner_text(row),
            )
            for row in rows
        ],
    )  # fmt: skip


def _print_links(rows: Sequence[dict[str, Any]]) -> None:
    headings = [
        Heading("ID", right=True), Heading("TYPE"), Heading("PROGRAM"), Heading("ATTACHED", wide=True),
        Heading("OWNER", wide=True),
    ]  # fmt: skip
    table(
        headings,
        [
            (
                str(row["id"]),
                row["kind"],
                f"{row['prog_id']} {row['program']}".strip() if row["prog_id"] else "-",
                " ".join(part for part in (row["attach_type"], row["target"]) if part) or "-",
                _owner_text(row),
            )
            for row in rows
        ],
    )


def _owner_text(row: dict[str, Any]) -> str:
    """The processes that hold it, else its pins."""
    shown = [f"{owner['comm']} ({owner['pid']})" for owner in row["owners"]] or [f"pin {path}" for path in row["pins"]]
    more = len(shown) - 3
    return ", ".join(shown[:3]) + (f" and {more} more" if more > 0 else "") or "-"


def _flags(row: dict[str, Any]) -> str:
    from osmia.abi.map_types import FLAGS

    names = [name.lower() for name, value, _ in FLAGS if row["flags"] & value]
    rest = row["flags"] & ~sum(value for _, value, _ in FLAGS)
    return ",".join(names + [f"{rest:#x}"] * bool(rest) + ["frozen"] * row["frozen"]) or "-"


def _size(count: int) -> str:
    """A number of bytes in short form."""
    if not count:
        return "-"
    number = float(count)
    for unit in ("", "K", "M"):
        if number < 1024:
            return f"{number:.0f}{unit}" if number >= 10 or not unit else f"{number:.1f}{unit}"
        number /= 1024
    return f"{number:.1f}G"


def _seconds(text: str) -> float:
    value = float(text.removesuffix("s"))
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is no time of up to an hour")
    return value
