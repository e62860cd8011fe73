"""``osmia ps``: the programs, maps and links in the kernel, with run statistics and owners."""

from __future__ import annotations

import argparse

from osmia.cli.arguments import Parser, completes
from osmia.cli.screen import Heading, paint, table, write, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_SORT_KEYS = ("id", "name", "type", "time", "runs", "mean")
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
    return 0


def _gather(chosen: set[str], arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Rows of each kind, as plain data, selected and sorted."""
    from osmia.kernel import inspect

    stats = _measured(arguments.stats) if arguments.stats and "programs" in chosen else None
    links = [_link(info) for info in inspect.links()]
    programs = [_program(info, stats) for info in inspect.programs()] if chosen & {"programs", "links"} else []
    found: dict[str, list[dict[str, Any]]] = {}
    if "programs" in chosen:
        found["programs"] = programs
    if "maps" in chosen:
        found["maps"] = [_map(info) for info in inspect.maps()]
    if "links" in chosen:
        names = {row["id"]: row["name"] for row in programs}
        for row in links:
            row["program"] = names.get(row["program_id"], "")
        found["links"] = links
    owners = inspect.owners()
    for kind, rows in found.items():
        for row in rows:
            row["owners"] = [{"pid": pid, "comm": comm} for pid, comm in sorted(owners.get((kind[:-1], row["id"]), ()))]
        rows[:] = [row for row in rows if _wanted(row, arguments)]
        rows.sort(key=lambda row: _sort_key(row, arguments.sort))
    if "programs" in found:
        _add_places(found["programs"], links)
    return found


def _measured(seconds: float) -> dict[int, tuple[int, int]]:
    """Statistics of a span of time: what each program added meanwhile, as (ns, runs) by id."""
    import time

    from osmia.kernel import inspect

    with inspect.statistics():
        before = {info.id: (info.run_time_ns, info.run_count) for info in inspect.programs()}
        time.sleep(seconds)
        found = {}
        for info in inspect.programs():
            spent, runs = before.get(info.id, (0, 0))
            found[info.id] = (info.run_time_ns - spent, info.run_count - runs)
    return found


def _program(info: Any, stats: dict[int, tuple[int, int]] | None) -> dict[str, Any]:
    spent, runs = (info.run_time_ns, info.run_count) if stats is None else stats.get(info.id, (0, 0))
    return {
        "id": info.id,
        "type": info.kind,
        "name": info.name,
        "tag": info.tag,
        "run_time_ns": spent,
        "run_count": runs,
        "ns_per_run": round(spent / runs, 1) if runs else None,
        "recursion_misses": info.recursion_misses,
        "verified_instructions": info.verified_insns,
        "bytecode_bytes": info.xlated_size,
        "machine_code_bytes": info.jited_size,
        "map_ids": info.map_ids,
        "btf_id": info.btf_id,
        "uid": info.created_by_uid,
        "loaded_at": _wall_time(info.load_time_ns),
    }


def _map(info: Any) -> dict[str, Any]:
    return {
        "id": info.id,
        "type": info.kind,
        "name": info.name,
        "key_size": info.key_size,
        "value_size": info.value_size,
        "max_entries": info.max_entries,
        "flags": info.flags,
        "btf_id": info.btf_id,
    }


def _link(info: Any) -> dict[str, Any]:
    return {
        "id": info.id,
        "type": info.kind,
        "program_id": info.prog_id,
        "attach_type": info.attach_type,
        "target": info.target,
        "details": info.details,
    }


def _wall_time(boot_ns: int) -> str:
    """A time on the clock since boot as local date and time."""
    import time

    started = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started + boot_ns / 1e9))


def _wanted(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    if arguments.pid is not None and all(owner["pid"] != arguments.pid for owner in row["owners"]):
        return False
    return arguments.name in (row["name"] if "name" in row else f"{row['program']} {row['target']}")


def _sort_key(row: dict[str, Any], key: str) -> tuple[Any, ...]:
    """By number or name ascending; by time, runs and mean time descending. Lists without such a column stay by id."""
    if key in ("time", "runs", "mean"):
        column = {"time": "run_time_ns", "runs": "run_count", "mean": "ns_per_run"}[key]
        return (-(row.get(column) or 0), row["id"])
    if key == "name":
        return (row.get("name", row.get("program", "")), row["id"])
    return (row["type"], row["id"]) if key == "type" else (row["id"],)


def _add_places(programs: list[dict[str, Any]], links: list[dict[str, Any]]) -> None:
    """Where each program is attached: by its links, else by perf events that its owners hold."""
    from osmia.kernel.debug_info import perf_attachments

    places: dict[int, list[str]] = {}
    for row in links:
        places.setdefault(row["program_id"], []).append(_place(row))
    unknown = {owner["pid"] for row in programs if row["id"] not in places for owner in row["owners"]}
    for number, texts in perf_attachments(sorted(unknown)).items():
        places.setdefault(number, []).extend(texts)
    for row in programs:
        row["attached"] = sorted(set(places.get(row["id"], [])))


def _place(row: dict[str, Any]) -> str:
    what = row["attach_type"] or row["type"]
    return f"{what} {row['target']}".strip()


def _print_programs(rows: Sequence[dict[str, Any]]) -> None:
    headings = [
        Heading("ID", right=True), Heading("TYPE"), Heading("NAME"), Heading("RUNS", right=True),
        Heading("TIME(MS)", right=True), Heading("NS/RUN", right=True), Heading("OWNER", wide=True),
        Heading("ATTACHED", wide=True),
    ]  # fmt: skip
    table(
        headings,
        [
            (
                str(row["id"]),
                row["type"],
                row["name"] or "-",
                f"{row['run_count']:,}" if row["run_count"] else "-",
                f"{row['run_time_ns'] / 1e6:,.3f}" if row["run_count"] else "-",
                f"{row['ns_per_run']:,.0f}" if row["run_count"] else "-",
                _owner_text(row),
                ", ".join(row["attached"]) or "-",
            )
            for row in rows
        ],
    )


def _print_maps(rows: Sequence[dict[str, Any]]) -> None:
    headings = [
        Heading("ID", right=True), Heading("TYPE"), Heading("NAME"), Heading("KEY", right=True),
        Heading("VALUE", right=True), Heading("ENTRIES", right=True), Heading("FLAGS"), Heading("OWNER", wide=True),
    ]  # fmt: skip
    table(
        headings,
        [
            (
                str(row["id"]), row["type"], row["name"] or "-", str(row["key_size"]), str(row["value_size"]),
                f"{row['max_entries']:,}", _flags(row["flags"]), _owner_text(row),
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
                row["type"],
                f"{row['program_id']} {row['program']}".strip() if row["program_id"] else "-",
                " ".join(part for part in (row["attach_type"], row["target"]) if part) or "-",
                _owner_text(row),
            )
            for row in rows
        ],
    )


def _owner_text(row: dict[str, Any]) -> str:
    shown = [f"{owner['comm']} ({owner['pid']})" for owner in row["owners"][:3]]
    more = len(row["owners"]) - 3
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") or "-"


def _flags(flags: int) -> str:
    from osmia.abi.map_types import FLAGS

    names = [name.lower() for name, value, _ in FLAGS if flags & value]
    rest = flags & ~sum(value for _, value, _ in FLAGS)
    return ",".join(names + [f"{rest:#x}"] * bool(rest)) or "-"


def _seconds(text: str) -> float:
    value = float(text.removesuffix("s"))
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is no time of up to an hour")
    return value
