"""Reading the verifier's log: which instruction it refused, and its own last words."""

from __future__ import annotations

import re

_INSN = re.compile(r"^(\d+): \([0-9a-f]{2}\) ?(.*)$", re.MULTILINE)
# Messages that name the instruction themselves; such a one need not be the last that was looked at.
_NAMED = re.compile(
    r"(?:unreachable insn|back-edge from insn|jump out of range from insn|infinite loop detected at insn|"
    r"last insn is not an exit or jmp.*insn|invalid insn idx|call out of range/dest.*insn|at insn) (\d+)"
)
# Lines that tell what the verifier did or knew, not why it refused.
_ASIDE = re.compile(
    r"^(?:processed \d+ insns|verification time |stack depth |max_states_per_insn|"
    r"from \d+ to \d+|mark_precise|frame\d+:|cur state:|old state:|last_idx |regs=|parent (?:didn't|already)|"
    r"propagating |R\d+(?:_w)?=|\d+: |; |\s*$|Live regs|func#\d+ @\d+)"
)


class Refusal:
    """What a log says.

    :ivar message: the kernel's own last words, ``""`` when there are none. :ivar insn: slot of the instruction,
        -1 when unknown. :ivar text: that instruction as the log prints it.
    """

    __slots__ = ("insn", "message", "text")

    def __init__(self, message: str, insn: int, text: str) -> None:
        self.message = message
        self.insn = insn
        self.text = text


def parse(log: str) -> Refusal:
    """The refusal that ends a verifier's log (log level 1 or 2)."""
    message = ""
    for line in reversed(log.splitlines()):
        if not _ASIDE.match(line):
            message = line.strip()
            break
    named = _NAMED.search(message)
    insn, text = -1, ""
    for found in _INSN.finditer(log):
        if named and found[1] != named[1]:
            continue
        insn, text = int(found[1]), found[2]
    if named:
        insn = int(named[1])
    # The state of the registers follows the instruction in newer kernels, behind a semicolon.
    return Refusal(message, insn, text.partition(" ; ")[0].strip())


_UNKNOWN_HELPER = re.compile(
    r"(?:invalid func unknown|unknown func (\w+)|program of this type cannot use helper (\w+)|"
    r"invalid func (\w+))#(\d+)"
)


def unknown_helper(message: str) -> int:
    """The number of the helper function that a message says is not there (for this type), -1 for other messages."""
    found = _UNKNOWN_HELPER.search(message)
    return int(found[4]) if found else -1
