"""``osmia disasm TARGET``: the bytecode of an object file, a program file, a tool, or a program in the kernel."""

from __future__ import annotations

import os

from osmia.cli.arguments import Parser, completes
from osmia.cli.screen import paint, write, write_json
from osmia.diagnostics import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from osmia.object.spec import CollectionSpec
    from osmia.runtime.listing import Code

_EPILOG = """\
targets:
  FILE.o        an object file made by Osmia, clang or gcc
  FILE.py, TOOL a program file or a ready tool; it is compiled
  id:N, name:X  a program in the kernel, as the verifier left it
  PATH          a program that is pinned in a bpf file system
"""


class Section:
    """One program of a target.

    :ivar title: one line: what it is. :ivar facts: the same for JSON. :ivar code: its instructions.
    :ivar machine: machine code as (address, bytes, function), where that was asked for.
    """

    __slots__ = ("code", "facts", "machine", "name", "title")

    def __init__(self, name: str, title: str, facts: dict[str, Any], code: Code) -> None:
        self.name = name
        self.title = title
        self.facts = facts
        self.code = code
        self.machine: list[tuple[int, bytes, str]] = []


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("disasm", "Show the bytecode of a program, with its source lines.", epilog=_EPILOG)
    completes(result.add_argument("target", metavar="TARGET", help="what to disassemble, see below"), "program")
    result.add_argument(
        "-p",
        "--program",
        metavar="NAME",
        action="append",
        default=[],
        help="only this program (repeatable)",
    )
    result.add_argument("--bytes", action="store_true", help="show the bytes of each instruction")
    result.add_argument("--no-source", action="store_true", help="leave the source lines out")
    result.add_argument("--jited", action="store_true", help="the machine code of a loaded program, as bytes")
    result.add_argument("--json", action="store_true", help="the same as JSON")
    result.add_argument("-v", "--verbose", action="store_true", help="more detail in errors")
    return result


def main(words: list[str]) -> int:
    """Prints the listings."""
    arguments = parser().parse_args(words)
    sections = _selected(_sections(arguments), arguments)
    if arguments.json:
        write_json({"target": arguments.target, "programs": [_plain(section, arguments) for section in sections]})
        return 0
    for at, section in enumerate(sections):
        if at:
            write("\n")
        _print(section, arguments)
    return 0


def _sections(arguments: argparse.Namespace) -> list[Section]:
    target: str = arguments.target
    if target.startswith(("id:", "name:")) or _is_pin(target):
        from osmia.cli.loaded import section_of

        if arguments.program:
            raise UsageError("CLI012", f"--program is for files, and {target} is one loaded program")
        return [section_of(target, arguments.jited)]
    kind = _kind(target)
    if arguments.jited:
        raise UsageError(
            "CLI012",
            f"--jited is for loaded programs, and {target} is {kind}",
            hint="load it first: osmia run; osmia ps tells the id",
        )
    return _of_spec(_spec(target))


def _is_pin(target: str) -> bool:
    """Whether a path lies in a bpf file system."""
    if "/" not in target or not os.path.exists(target):
        return False
    from osmia.cli.loaded import in_bpffs

    return in_bpffs(target)


def _kind(target: str) -> str:
    if target.endswith(".py"):
        return "a program file"
    if target.endswith(".o") or os.path.isfile(target):
        return "an object file"
    from osmia.runtime.programs import tool_names

    if target in tool_names():
        return "a tool"
    from osmia.diagnostics.text import clean, did_you_mean

    raise UsageError(
        "CLI010",
        f"'{clean(target)}' is no file, no tool and no loaded program",
        hint=did_you_mean(target, tool_names()) or "loaded programs are given as id:N or name:X; osmia ps lists them",
    )


def _spec(target: str) -> CollectionSpec:
    from osmia.runtime.pipeline import compile_spec, read_file
    from osmia.runtime.programs import find_program

    if not target.endswith(".py") and (target.endswith(".o") or os.path.isfile(target)):
        return read_file(target)
    program = find_program(target)
    program.resolve_names()
    return compile_spec(program)


def _of_spec(spec: CollectionSpec) -> list[Section]:
    from osmia.runtime.listing import code_of

    found = []
    for name, program in spec.programs.items():
        size = len(program.insns) // 8
        title = f"{name}: {program.section}, {size} instructions, licence {program.license}"
        facts = {
            "name": name,
            "section": program.section,
            "hook": {"kind": program.hook.kind, "target": program.hook.target},
            "license": program.license,
            "instructions_count": size,
        }
        found.append(Section(name, title, facts, code_of(spec, program)))
    return found


def _selected(sections: list[Section], arguments: argparse.Namespace) -> list[Section]:
    names = [section.name for section in sections]
    for wanted in arguments.program:
        if wanted not in names:
            from osmia.diagnostics.text import clean, did_you_mean

            raise UsageError(
                "CLI011",
                f"{arguments.target} has no program '{clean(wanted)}'",
                hint=did_you_mean(wanted, names) or f"it has {', '.join(names) or 'none'}",
            )
    return [section for section in sections if not arguments.program or section.name in arguments.program]


def _print(section: Section, arguments: argparse.Namespace) -> None:
    from osmia.runtime.listing import text_lines

    write(paint("bold", section.title) + "\n\n")
    if arguments.jited:
        for address, data, function in section.machine:
            write(f"{function}: {len(data)} bytes at {address:#x}\n" if address else f"{function}: {len(data)} bytes\n")
            for at in range(0, len(data), 16):
                write(f"{at:>6x}: {data[at : at + 16].hex(' ')}\n")
        return
    for line in text_lines(section.code, raw=arguments.bytes, sources=not arguments.no_source):
        write((paint("dim", line) if line.startswith(";") else line) + "\n")


def _plain(section: Section, arguments: argparse.Namespace) -> dict[str, Any]:
    from osmia.runtime.listing import entries

    if arguments.jited:
        machine = [
            {"function": function, "address": address, "bytes": data.hex()}
            for address, data, function in section.machine
        ]
        return {**section.facts, "machine_code": machine}
    return {**section.facts, "instructions": [entry.plain() for entry in entries(section.code)]}
