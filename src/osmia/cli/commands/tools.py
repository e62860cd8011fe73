"""``osmia tools [NAME]``: the ready tools, or one's manual. Nothing of a tool is executed."""

from __future__ import annotations

import sys

from osmia.cli.arguments import Parser, completes
from osmia.cli.screen import Heading, columns, paint, table, write, write_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.cli.ready import Tool

_SECTIONS = {"Example": "EXAMPLE", "Examples": "EXAMPLE", "Option": "OPTIONS", "Options": "OPTIONS"}


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("tools", "List the ready tools; with a name, show that tool's manual.")
    completes(result.add_argument("name", nargs="?", metavar="NAME", help="a tool, such as opensnoop"), "tool")
    result.add_argument("--json", action="store_true", help="the same as JSON")
    result.add_argument("--path", action="store_true", help="print where the tool's file is, to copy or read it")
    return result


def main(words: list[str]) -> int:
    """Prints the list or the manual."""
    from osmia.cli.ready import tool, tools
    from osmia.runtime.programs import tools_folder

    arguments = parser().parse_args(words)
    if arguments.path:
        write((tool(arguments.name).path if arguments.name else tools_folder()) + "\n")
    elif arguments.name:
        found = tool(arguments.name)
        if arguments.json:
            write_json(_plain(found))
        else:
            write(manual_page(found))
    elif arguments.json:
        write_json([_plain(each) for each in tools()])
    else:
        table([Heading("TOOL"), Heading("WHAT IT DOES", wide=True)], [(each.name, each.summary) for each in tools()])
        if sys.stdout.isatty():
            write("\nosmia tools NAME shows a tool's manual, osmia run NAME runs it.\n")
    return 0


def manual_page(tool: Tool) -> str:
    """A tool's manual, in the form of a manual page."""
    lines = [paint("bold", "NAME"), f"    {tool.name} - {tool.summary}"]
    section = ""
    empty = False  # the section's heading is all there is of it yet
    for paragraph in tool.manual.replace("``", "").split("\n\n")[1:]:
        first, _, rest = paragraph.partition("\n")
        title = _SECTIONS.get((first.split() or [""])[0].rstrip(":"), "") if not first.startswith(" ") else ""
        if title:
            first = first.partition(":")[2].strip()
            first = first[:1].upper() + first[1:] if title == "EXAMPLE" else first
        title = title or section or "DESCRIPTION"
        if not empty:
            lines.append("")
        if title != section:
            lines.append(paint("bold", title))
            section = title
        text = "\n".join(line for line in (first, rest) if line.strip())
        empty = not text
        if text:
            lines += _shown(text)
    more = (
        f"osmia run {tool.name} --help tells all options: which processes (--pid, --comm, --cgroup, -- COMMAND), how "
        "long (--duration, --interval), and the form of the output (--json, --csv, --top)."
    )
    return "\n".join([*lines, "", paint("bold", "COMMON OPTIONS"), *_shown(more)]) + "\n"


def _shown(text: str) -> list[str]:
    """A paragraph, indented: what is indented itself keeps its lines, the rest is filled to the screen's width."""
    if text.startswith(" "):
        return [f"    {line}".rstrip() for line in text.split("\n")]
    return columns(text.split(), indent=4).split("\n")


def _plain(tool: Tool) -> dict[str, str]:
    return {"name": tool.name, "summary": tool.summary, "path": tool.path, "manual": tool.manual}
