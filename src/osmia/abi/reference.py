"""The tables as Markdown, for the reference pages of the documentation."""

from __future__ import annotations

from osmia.abi._table import version_text
from osmia.abi.attach_types import attach_types
from osmia.abi.commands import commands
from osmia.abi.helpers import Helper, helpers
from osmia.abi.kernel_versions import features
from osmia.abi.link_types import link_types
from osmia.abi.map_types import FLAGS, MapType, map_types
from osmia.abi.prog_types import ProgType, prog_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_ENTRIES = {
    "count": "number of entries",
    "zero": "must be 0",
    "one": "must be 1",
    "bytes": "size in bytes: a power of two, a multiple of the page size",
    "pages": "number of pages, 4 GiB at most",
}


def helpers_markdown() -> str:
    """Every helper function: prototype, version, licence, program types."""
    lines = [
        "# Helper functions",
        "",
        "Functions that a BPF program may call in the kernel, by number. The list has been closed since Linux 6.2;",
        "newer functions are kfuncs. Program types are those of Linux 6.18.",
        "",
        "| number | name | since | GPL only | what it does |",
        "| ---: | --- | --- | --- | --- |",
    ]
    for row in helpers():
        gpl = "yes" if row.gpl_only else ""
        since = version_text(row.version)
        lines.append(f"| {row.number} | [`{row.name}`](#{row.name}) | {since} | {gpl} | {_cell(row.summary)} |")
    for row in helpers():
        lines += _helper_section(row)
    return "\n".join(lines) + "\n"


def _helper_section(row: Helper) -> list[str]:
    lines = [
        "",
        f"## {row.name}",
        "",
        f"{row.summary[0].upper()}{row.summary[1:]}.",
        "",
        "```c",
        f"{row.prototype};",
        "```",
    ]
    signature = row.signature
    if signature.args:
        lines += ["", "| argument | type | the verifier expects |", "| --- | --- | --- |"]
        for arg in signature.args:
            words = " ".join((arg.kind, *arg.flags))
            if arg.size or arg.struct:
                words += f" ({arg.struct or f'{arg.size} bytes'})"
            lines.append(f"| `{arg.name}` | `{arg.ctype}` | {words} |")
    facts = [f"Number {row.number}, since Linux {version_text(row.version)}."]
    if signature.may_return_null:
        facts.append("May return NULL: compare before use.")
    facts += [text for mark, text in _helper_marks(row) if mark]
    lines += ["", " ".join(facts), "", "Program types: " + _names(_limited(row)) + "."]
    for variant in row.variants:
        words = ", ".join(arg.kind for arg in variant.args) or "no arguments"
        lines += ["", f"In {_names(variant.prog_types)} the arguments are {words}."]
    return lines


def _helper_marks(row: Helper) -> list[tuple[bool, str]]:
    return [
        (row.gpl_only, "Needs a GPL-compatible licence."),
        (row.sleeps, "Sleeps: only sleepable programs may call it."),
        (row.packet_access, "Memory arguments may point into a packet."),
        (row.variadic, "More numbers may follow."),
        (row.selective, "Some of these program types may call it at certain attach points only."),
        (bool(row.needs), f"Needs {row.needs}."),
    ]


def _limited(row: Helper) -> list[str]:
    found = []
    for name in row.prog_types:
        attaches = row.attach_types.get(name)
        found.append(f"{name} ({', '.join(attaches)})" if attaches else name)
    return found


def map_types_markdown() -> str:
    """Every map type: rules, flags, what may be done with it."""
    lines = [
        "# Map types",
        "",
        "| number | name | since | what it is |",
        "| ---: | --- | --- | --- |",
    ]
    rows = [row for row in map_types() if row.number]
    lines += [
        f"| {row.number} | [`{row.name}`](#{row.name}) | {version_text(row.version)} | {_cell(row.summary)} |"
        for row in rows
    ]
    for row in rows:
        lines += _map_section(row)
    lines += ["", "## Creation flags", "", "| flag | value | since |", "| --- | ---: | --- |"]
    lines += [f"| `BPF_F_{name}` | {value:#x} | {version_text(version)} |" for name, value, version in FLAGS]
    return "\n".join(lines) + "\n"


def _map_section(row: MapType) -> list[str]:
    facts = [
        ("key", _sizes(*row.key)),
        ("value", _sizes(*row.value) + (", one for each CPU" if row.per_cpu else "")),
        ("max_entries", _ENTRIES[row.entries]),
        ("flags", _names(row.flag_names()) or "none"),
        ("map_extra", row.extra),
        ("user space", ", ".join(row.user) or "nothing"),
        ("helpers", _names(row.helpers)),
        ("sleepable programs", "yes" if row.sleepable else "no"),
    ]
    lines = ["", f"## {row.name}", "", f"{row.summary[0].upper()}{row.summary[1:]}.", "", "| | |", "| --- | --- |"]
    lines += [f"| {name} | {_cell(text)} |" for name, text in facts if text]
    if row.required:
        names = [name for name, value, _ in FLAGS if value & row.required]
        lines += ["", f"Flags required: {_names('BPF_F_' + name for name in names)}."]
    if row.btf_only:
        lines += ["", "Made only with BTF types of key and value."]
    return lines


def _sizes(least: int, most: int, step: int) -> str:
    if least == most:
        return f"{least} bytes" if least else "none"
    top = f"to {most} bytes" if most else "bytes or more"
    return f"{least} {top}" + (f" in steps of {step}" if step > 1 else "")


def prog_types_markdown() -> str:
    """Every program type: context, sections, attach types, return values."""
    lines = [
        "# Program types",
        "",
        "| number | name | since | what it does |",
        "| ---: | --- | --- | --- |",
    ]
    rows = [row for row in prog_types() if row.number]
    lines += [
        f"| {row.number} | [`{row.name}`](#{row.name}) | {version_text(row.version)} | {_cell(row.summary)} |"
        for row in rows
    ]
    for row in rows:
        lines += _prog_section(row)
    return "\n".join(lines) + "\n"


def _prog_section(row: ProgType) -> list[str]:
    sections = [name + ("/..." if target else "") for name, _, target, _ in row.sections]
    facts = [
        ("context", f"`{row.context}`" if row.context else "as the attach point has it"),
        ("sections", _names(sections)),
        ("attach types", _names(row.attach_types)),
        (
            "returns",
            f"{row.returns[0]} to {row.returns[1]}" if row.returns else "any value, or as the attach type has it",
        ),
        ("test run", "yes" if row.test_run else "no"),
        ("licence", "must be GPL-compatible" if row.gpl else ""),
    ]
    lines = ["", f"## {row.name}", "", f"{row.summary[0].upper()}{row.summary[1:]}.", "", "| | |", "| --- | --- |"]
    return lines + [f"| {name} | {_cell(text)} |" for name, text in facts if text]


def attach_types_markdown() -> str:
    """Every attach type."""
    lines = [
        "# Attach types",
        "",
        "| number | name | since | program types | attaches to | link | returns |",
        "| ---: | --- | --- | --- | --- | --- | --- |",
    ]
    for row in attach_types():
        returns = f"{row.returns[0]} to {row.returns[1]}" if row.returns else ""
        link = f"{row.link}, {version_text(row.link_version)}" if row.link_version else ""
        lines.append(
            f"| {row.number} | `{row.name}` | {version_text(row.version)} | {_names(row.prog_types)} | {row.target} "
            f"| {link} | {returns} |"
        )
    return "\n".join(lines) + "\n"


def versions_markdown() -> str:
    """Features, commands and link types by the release they came in."""
    lines = ["# Kernel features", "", "| feature | since | what it is | confirmed by |", "| --- | --- | --- | --- |"]
    for row in sorted(features(), key=lambda one: (one.version, one.name)):
        lines.append(
            f"| `{row.name}` | {version_text(row.version)} | {_cell(row.summary)} | {row.probe}: `{row.subject}` |"
        )
    lines += ["", "## Commands of bpf(2)", "", "| number | command | since |", "| ---: | --- | --- |"]
    lines += [f"| {row.number} | `{row.name}` | {version_text(row.version)} |" for row in commands()]
    lines += ["", "## Link types", "", "| number | link type | since | what it holds |", "| ---: | --- | --- | --- |"]
    lines += [
        f"| {row.number} | `{row.name}` | {version_text(row.version)} | {_cell(row.summary)} |"
        for row in link_types()
        if row.number
    ]
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """All reference pages: file name without suffix, text."""
    return {
        "helpers": helpers_markdown(),
        "map-types": map_types_markdown(),
        "program-types": prog_types_markdown(),
        "attach-types": attach_types_markdown(),
        "kernel-features": versions_markdown(),
    }


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
