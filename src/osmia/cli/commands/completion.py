"""``osmia completion SHELL``: a script that lets the shell complete ``osmia``."""

from __future__ import annotations

from osmia.cli.arguments import Parser

_EPILOG = """\
examples:
  eval "$(osmia completion bash)"        in this shell; in ~/.bashrc for all
  osmia completion zsh > "${fpath[1]}/_osmia"
  osmia completion fish > ~/.config/fish/completions/osmia.fish
"""


def parser() -> Parser:
    """The command's arguments."""
    result = Parser("completion", "Print a shell's completion script for osmia.", epilog=_EPILOG)
    result.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")
    return result


def main(words: list[str]) -> int:
    """Prints the script."""
    from osmia.cli.screen import write
    from osmia.cli.shells import script

    write(script(parser().parse_args(words).shell))
    return 0
