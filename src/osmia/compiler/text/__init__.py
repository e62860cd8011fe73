r"""The textual form of the typed IR: exact both ways.

``parse_module(print_module(module))`` gives an equal module: maps, globals, events, extras, functions with all their
parts, spans. Only the ``factory`` of a layout, which is no part of its identity, is lost. ``print_module(spans=False)``
leaves out the places in the source program.

A text is words, freely separated by spaces and lines; ``#`` starts a comment. An operation is one line. ::

    module    = "module" TEXT "license" TEXT { item }
    item      = "source" "!" NUMBER TEXT                                   # a file that spans name
              | "struct" NAME ["named" TEXT] "size" N "align" N "{" { N WORD ":" type ["bits" BIT BITS] } "}"
              | "enum" NAME ["named" TEXT] ":" type "{" { WORD "=" N } "}"
              | "map" "@"NAME ["named" TEXT] mapspec
              | "global" "@"NAME ["named" TEXT] ":" type "in" TEXT ["=" BYTES] [span]
              | "event" "@"MAP ["on" TEXT] ":" TEXT type [value]           # name, struct, display formats
              | "extras" "{" { TEXT ":" value } "}"
              | "function" KIND "@"NAME ["named" TEXT] "(" [ param { "," param } ] ")" ["->" type] [span] "{"
                    ["section" TEXT] ["hook" TEXT TEXT [value]] ["sleepable"]
                    { "local" "$"NAME ["named" TEXT] ":" type [span] } { block } "}"
    mapspec   = ":" KIND "{" [ WORD "=" value { "," WORD "=" value } ] "}"  # inner=map @NAME mapspec
    param     = "%"NAME ":" type
    block     = "^"LABEL ":" { operation }
    operation = ["%"NAME ":" type "="] WORD ["%"NAME { "," "%"NAME }] [";" WORD "=" value { "," WORD "=" value }] [span]
    span      = "!" FILE ":" LINE ":" COLUMN [".." [END_LINE ":"] END_COLUMN]   # default: one column
    type      = "u8" ... "s64" | "bool" | "void" | "map" | "func" | "char[N]" | "bytes[N]" | type "[N]"
              | "struct" NAME | "enum" NAME                                # as defined above
              | "kstruct" WORD | "kunion" WORD | "kenum" WORD | "ktypedef" WORD | "karray<" type "," N ">"
              | "ptr<" SPACE "," ( type | "bytes" ) ["," BOUND] ">" ["?"]
    value     = NUMBER | TEXT | BYTES | "true" | "false" | "null" | type | "@"NAME | "$"NAME | "^"LABEL
              | "(" values ")" | "[" values "]" | "{" pairs "}"            # tuple, list, dict

``TEXT`` is in double quotes with ``\n \t \" \\ \u{...}``, ``BYTES`` is ``x"00ff"``; names that are no words are in
quotes behind their sign (``%"a b"``), a tuple of one has a comma. Names with ``@``, ``$`` and ``^`` are text to the IR;
the signs only show what is meant. Which attributes an operation has is said by the table (``osmia.compiler.ir.ops``)::

    function program @enter(%ctx: ptr<ctx, struct args>) -> s32 !0:12:0..14:20 {
      section "tracepoint/syscalls/sys_enter_openat"
      local $key: u32
    ^entry:
      %0: u64 = helper; name="get_current_pid_tgid" !0:13:10..15
      %1: u32 = trunc %0
      local.set %1; local=$key
      %2: ptr<stack, u32> = local.addr; local=$key
      %3: ptr<map, u64>? = map.lookup %2; map=@counts
      %4: ptr<map, u64> = br.nonnull %3; then=^found, other=^done
    ^found:
      ...
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.text.parser import parse_module
    from osmia.compiler.text.printer import op_text, print_function, print_module

_HOMES = {"op_text": "printer", "parse_module": "parser", "print_function": "printer", "print_module": "printer"}

__all__ = ["op_text", "parse_module", "print_function", "print_module"]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{home}"), name)
