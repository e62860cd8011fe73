"""``osmia explain CODE``: what an error code means, why the rule exists, an example and the repair."""

from __future__ import annotations

from osmia.cli.arguments import Parser
from osmia.cli.screen import colored, write


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("explain", "Explain an error code; without one, list all codes.")
    result.add_argument("code", nargs="?", metavar="CODE", help="an error code such as PY101")
    return result


def main(words: list[str]) -> int:
    """Prints the page, or the list."""
    from osmia.diagnostics.explain import code_list, explain

    arguments = parser().parse_args(words)
    text = explain(arguments.code, color=colored()) if arguments.code else code_list()
    write(text)
    return 0
