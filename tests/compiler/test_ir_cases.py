"""Text cases of the typed IR: ``[case]`` gives a module or the body of a program, ``[out]`` what comes of it.

What comes of a case in ``legality*.txt`` are the problems found, in ``ops*.txt`` the value that the evaluator gives and
the generated instructions. ``UPDATE=1 pytest tests/compiler/test_ir_cases.py`` writes the outcomes into the files.
"""

import os
import re
from pathlib import Path

import pytest

from osmia.compiler import legality
from osmia.compiler.codegen import V3, V3_OLD, V4, compile_module
from osmia.compiler.codegen.llvm import llvm
from osmia.compiler.evaluate import Evaluator
from osmia.compiler.ir.ops import OPS
from osmia.compiler.text import parse_module
from osmia.diagnostics import CompileError
from osmia.isa.disassembler import disassemble
from osmia.isa.instruction import decode_program
from osmia.object.elf import read_object

FOLDER = Path(__file__).parents[1] / "cases" / "ir"
UPDATE = bool(os.environ.get("UPDATE"))
HEADER = """module "case" license "GPL"
struct pair size 16 align 8 {
  0 first: u32
  8 second: u64
}
map @counts: hash {key=u32, value=u64, max_entries=8}
map @pairs: array {key=u32, value=struct pair, max_entries=4}
map @events: ringbuf {value=struct pair, max_entries=4096}
map @progs: prog_array {key=u32, value=u32, max_entries=2}
global @total: u64 in ".bss"
global @word: u32 in ".data" = x"04030201"
global @text: char[16] in ".rodata" = x"6f6e6500000000000000000000000000"
"""
BODY = """function program @entry(%ctx: ptr<ctx, u64[8]>) -> u32 {{
  section "raw_tp/sys_enter"
  local $n: u64
  local $k: u32
  local $t: bool
  local $a: u32[4]
  local $b: u8[8]
  local $p: struct pair
  local $big: u8[600]
{body}
}}
"""
CASE = re.compile(r"^\[case ([^\]]+)\]\n(.*?)^\[out\]\n(.*?)(?=^\[case |\Z)", re.MULTILINE | re.DOTALL)
TARGETS = {"v3": V3, "v4": V4, "old": V3_OLD}


def cases(pattern):
    return [
        pytest.param(path, found[1], found[2], found[3], id=f"{path.stem}-{found[1]}")
        for path in sorted(FOLDER.glob(pattern))
        for found in CASE.finditer(path.read_text())
    ]


def module_of(text):
    """The module of a case: as it stands, with the declarations before it, or as the body of a program."""
    if text.startswith("module "):
        return parse_module(text)
    if re.search(r"^(function|map|global) ", text, re.MULTILINE):
        return parse_module(HEADER + text)
    body = text.rstrip("\n")
    if not body.startswith("^"):
        body = "^entry:\n" + body
    last = body.rsplit("\n", 1)[-1]
    if not re.search(r"^\s*(ret|br|condbr|switch|unreachable)\b", last) and "= br." not in last:
        body += "\n  %zero: u32 = const; value=0\n  ret %zero"
    return parse_module(HEADER + BODY.format(body=body))


def check(path, name, wanted, outcome):
    if outcome == wanted:
        return
    if UPDATE:
        text = path.read_text()
        pattern = re.compile(
            rf"(^\[case {re.escape(name)}\]\n.*?^\[out\]\n)(.*?)(?=^\[case |\Z)", re.MULTILINE | re.DOTALL
        )
        path.write_text(pattern.sub(lambda found: found[1] + outcome, text, count=1))
        return
    assert outcome == wanted


@pytest.mark.parametrize(("path", "name", "text", "wanted"), cases("legality*.txt"))
def test_legality(path, name, text, wanted):
    target = TARGETS.get(name.rpartition("@")[2], V3)
    outcome = "".join(f"{found.code} {found.message}\n" for found in legality.problems(module_of(text), target))
    check(path, name, wanted.rstrip("\n") + "\n" if wanted.strip() else "", (outcome or "fine\n"))


@pytest.mark.parametrize(("path", "name", "text", "wanted"), cases("ops*.txt"))
def test_operation(path, name, text, wanted):
    module = module_of(text)
    target = TARGETS.get(name.rpartition("@")[2], V3)
    lines = []
    if "!novalue" not in name:
        lines.append(f"value {Evaluator(module).run('entry', bytes(range(64))).value}")
    blob = compile_module(module, target)
    program = read_object(blob, "case").programs["entry"]
    lines += disassemble(decode_program(program.insns)).splitlines()
    if llvm().version == 22 or UPDATE:
        check(path, name, wanted.rstrip("\n") + "\n", "\n".join(lines) + "\n")


def test_every_operation_has_a_case():
    text = "".join(path.read_text() for path in FOLDER.glob("ops*.txt"))
    missing = [name for name in OPS if not re.search(rf"(^ *|= ){re.escape(name)}(;| |$)", text, re.MULTILINE)]
    assert [name for name in missing if not name.startswith("scratch.")] == []


def test_every_legality_error_has_a_case():
    source = "".join(path.read_text() for path in Path(legality.__file__).parent.glob("*.py"))
    # IR001 cannot be written in text: the parser knows the operations.
    raised = set(re.findall(r'"(IR0\d\d)"', source)) - {"IR001"}
    shown = set(re.findall(r"^(IR0\d\d) ", "".join(p.read_text() for p in FOLDER.glob("legality*.txt")), re.MULTILINE))
    assert raised - shown == set()


def test_problems_carry_their_place():
    text = HEADER.replace('license "GPL"\n', 'license "GPL"\nsource !0 "prog.py"\n') + BODY.format(
        body="^entry:\n  %0: u64 = const; value=1 !0:7:4..9\n  %1: u32 = const; value=1\n"
        "  %2: u64 = add %0, %1 !0:9:4\n  ret %1"
    )
    with pytest.raises(CompileError) as caught:
        legality.check(parse_module(text))
    assert (caught.value.span.file, caught.value.span.line, caught.value.span.column) == ("prog.py", 9, 4)
    assert caught.value.hint
