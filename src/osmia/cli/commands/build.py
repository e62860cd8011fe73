"""``osmia build TARGET -o FILE``: compile a program to a portable object file."""

from __future__ import annotations

import os
import sys

from osmia.cli.arguments import Parser


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("build", "Compile a tool or a program file to an object file that bpftool and libbpf load too.")
    result.add_argument("target", metavar="TARGET", help="a tool's name or a program file")
    result.add_argument("-o", "--output", metavar="FILE", help="the object file (default: NAME.bpf.o)")
    result.add_argument("--llvm", action="store_true", help="print LLVM's intermediate code instead")
    result.add_argument("--ir", action="store_true", help="print the typed IR instead")
    result.add_argument("-v", "--verbose", action="store_true", help="more detail in errors")
    return result


def main(words: list[str]) -> int:
    """Writes the object, or prints an intermediate form."""
    from osmia.diagnostics import UsageError
    from osmia.runtime.pipeline import compile_object, intermediate
    from osmia.runtime.programs import find_program

    arguments = parser().parse_args(words)
    program = find_program(arguments.target)
    program.resolve_names()
    if arguments.ir or arguments.llvm:
        sys.stdout.write(intermediate(program, "llvm" if arguments.llvm else "ir"))
        return 0
    data = compile_object(program)
    path = arguments.output or f"{program.name}.bpf.o"
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            # A device or a pipe is written to; only files are replaced whole.
            with open(path, "wb") as file:
                file.write(data)
        else:
            with open(temporary, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
    except OSError as error:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise UsageError("CLI003", f"cannot write {path}: {error.strerror}", hint="name another file with -o") from None
    sys.stdout.write(f"{path}: {len(data)} bytes, {len(program.functions)} programs\n")
    return 0
