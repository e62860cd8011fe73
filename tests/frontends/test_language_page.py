"""The reference page of the language: its programs and fragments compile."""

import re
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "language.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
DECLARATIONS = """
from osmia.ktypes import task_struct
from osmia import tid, ktime_ns
verbose = prog.option("verbose", bool, False)

@prog.struct
class V:
    hits: u64

m = prog.hash(u32, V)
starts = prog.hash(u32, u64)
jobs = prog.queue(u32)
"""
FRAGMENT = """
@prog.struct
class KeyOf:
    port4: u16
    port6: u16

@prog.raw_tracepoint("sched_switch", subject=None)
def fragment() -> None:
    family: u16 = 2
    key = KeyOf(1, 2)
    k: u32 = 1
    now = ktime_ns()
    took = now - 5
"""


def texts():
    for number, block in enumerate(BLOCKS):
        if "prog = Program" in block:
            yield number, block, ""
        elif "@prog" in block:
            yield number, DECLARATIONS + block, None
        else:
            lines = block.replace(": ...", ": pass").split("\n")
            declared = [line for line in lines if " = prog." in line]
            rest = "\n".join(line for line in lines if line not in declared)
            before = DECLARATIONS if declared else DECLARATIONS + 'limit = prog.option("limit", u64, 5)\n'
            yield number, before + "\n".join(declared) + FRAGMENT + textwrap.indent(rest, "    "), None


@pytest.mark.parametrize(
    ("number", "text", "header"), list(texts()), ids=lambda item: item if isinstance(item, int) else ""
)
def test_block_compiles(sample, btf, number, text, header):
    made = (
        sample(text.replace(": ...  ", ": pass  ").replace(": ...\n", ": pass\n"))
        if header is None
        else sample(text, header)
    )
    if not made.program.functions:
        made.program.syscall(compile_main(made))
    assert made.ir(btf).functions


def compile_main(made):
    path = made.path.with_name(made.path.stem + "_main.py")
    path.write_text("def main() -> int:\n    return 0\n")
    space = {}
    exec(compile(path.read_text(), str(path), "exec"), space)
    return space["main"]


def test_every_intrinsic_is_on_the_page():
    from osmia.frontends.python.intrinsics import INTRINSICS

    text = PAGE.read_text()
    assert not [name for name in INTRINSICS if not re.search(rf"\b{name}\b", text)]


def test_every_hook_is_on_the_page():
    from osmia.lang.hooks import HOOKS

    text = PAGE.read_text()
    assert not [name for name in HOOKS if not re.search(rf"\b{name}\b", text)]


def test_every_map_is_on_the_page():
    from osmia.lang.program import ProgramDecl

    text = PAGE.read_text()
    makers = [
        name
        for name, value in vars(ProgramDecl).items()
        if not name.startswith("_") and "M." in str(getattr(value, "__annotations__", {}).get("return", ""))
    ]
    assert len(makers) > 20
    assert not [name for name in makers if not re.search(rf"\b{name}\b", text)]
