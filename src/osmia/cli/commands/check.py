"""``osmia check TARGET``: compile and load, attach nothing: what the compiler and this kernel say."""

from __future__ import annotations

import sys

from osmia.cli.arguments import Parser


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("check", "Compile a program and let this kernel verify it, without attaching anything.")
    result.add_argument("targets", metavar="TARGET", nargs="+", help="tools, program files or object files")
    result.add_argument("--no-load", action="store_true", help="compile only; needs no permission")
    result.add_argument("--json", action="store_true", help="one JSON object for each target")
    result.add_argument("-v", "--verbose", action="store_true", help="the kernel's whole log with a refusal")
    return result


def main(words: list[str]) -> int:
    """Checks every target; the first refusal's exit code is the command's."""
    from osmia.diagnostics import OsmiaError
    from osmia.runtime.check import check_target
    from osmia.runtime.console import exit_code, report

    arguments = parser().parse_args(words)
    status = 0
    for target in arguments.targets:
        try:
            result = check_target(target, load=not arguments.no_load)
        except OsmiaError as error:
            status = status or exit_code(error)
            if arguments.json:
                _print_json({"target": target, "ok": False, "error": error.to_dict()})
            else:
                report(error, arguments.verbose)
            continue
        if arguments.json:
            _print_json({"target": target, "ok": True, "programs": result})
            continue
        verdict = "compiles" if arguments.no_load else "compiles, and this kernel accepts it"
        sys.stdout.write(f"{target}: {verdict}\n")
        for row in result:
            size = f"{row['instructions']} instructions"
            if row.get("verified"):
                size += f", {row['verified']} verified, {row['jited']} bytes of machine code"
            sys.stdout.write(f"  {row['name']:<24} {row['hook']:<40} {size}\n")
    return status


def _print_json(body: dict[str, object]) -> None:
    import json

    sys.stdout.write(json.dumps(body) + "\n")
