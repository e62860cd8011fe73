"""``osmia demo``: one short program's way from source to live kernel events."""

from __future__ import annotations

import sys

from osmia.cli.arguments import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.object.spec import CollectionSpec, ProgramSpec
    from osmia.runtime.session import Session

_SECONDS = 10.0
_WORKLOAD = (
    "export LC_ALL=C; i=0; while [ $i -lt 40 ]; do cat /etc/hostname >/dev/null; cat /no/such/file-$i 2>/dev/null; "
    "sleep 0.5; i=$((i+1)); done"
)


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("demo", "Show a program's way: developed, verified, attached and JIT-compiled, executed.")
    result.add_argument("-d", "--duration", type=float, default=_SECONDS, metavar="SECONDS", help="of live events")
    result.add_argument("-v", "--verbose", action="store_true", help="more detail in errors")
    return result


def main(words: list[str]) -> int:
    """Runs the four steps; without permission as far as it goes, and says so."""
    from osmia.cli import demo_program
    from osmia.diagnostics import LoadError
    from osmia.runtime.console import exit_code, report
    from osmia.runtime.launch import open_program
    from osmia.runtime.options import RunOptions
    from osmia.runtime.pipeline import compile_spec

    arguments = parser().parse_args(words)
    program = demo_program.prog
    program.resolve_names()
    _step(1, "Developed", "an ordinary Python file")
    _source(demo_program.__file__)
    _step(2, "Verified", "compiled to BPF bytecode, which the kernel proves safe before it runs")
    _bytecode(compile_spec(program))
    options = RunOptions(duration=arguments.duration, command=["sh", "-c", _WORKLOAD])
    try:
        with open_program(program, options) as session:
            _verdict(session)
            _step(4, "Executed", f"{arguments.duration:g} seconds of what a small workload opens, live")
            sys.stdout.flush()
            session.run()
            _totals(session)
    except LoadError as error:
        report(error, arguments.verbose)
        _say("")
        _say("The program was compiled, but this machine did not let it into its kernel; steps 3 and 4 need that.")
        _say("What is missing and how to get it: osmia doctor")
        return exit_code(error)
    _say("")
    _say("Everything is detached again. Next: osmia tools, or docs/tour.md to write your own.")
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _step(number: int, title: str, text: str) -> None:
    heading = f"{number}. {title}"
    if sys.stdout.isatty():
        heading = f"\x1b[1m{heading}\x1b[0m"
    _say(f"\n{heading}: {text}\n")


def _source(path: str) -> None:
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            _say(f"  {number:>3}  {line.rstrip()}")


def _bytecode(spec: CollectionSpec) -> None:
    for row in spec.programs.values():
        if row.hook.options.get("when"):
            continue
        lines = _disassembly(spec, row)
        _say(f"  {row.name} ({row.section}): {len(row.insns) // 8} instructions")
        for line in lines:
            _say(f"  {line}")


def _disassembly(spec: CollectionSpec, row: ProgramSpec) -> list[str]:
    from osmia.runtime.listing import listing

    return listing(spec, row)


def _verdict(session: Session) -> None:
    for name, row in session.loaded.programs.items():
        if session.spec.programs[name].hook.options.get("when"):
            continue
        info = row.info()
        _say("")
        _say(f"  The kernel's verdict: accepted, {info.verified_insns} instructions checked.")
        hook = session.spec.programs[name].hook
        _step(3, "Attached and JIT-compiled", f"{info.jited_size} bytes of machine code at {hook.kind} {hook.target}")
        _say(f"  program id {info.id}, tag {info.tag}")


def _totals(session: Session) -> None:
    total = sum(stream.seen for stream in session.streams)
    losses = session.losses()
    lost = ", ".join(f"{count} {cause}" for cause, count in losses.items()) or "none lost"
    _say(f"\n  {total} events, {lost}.")
