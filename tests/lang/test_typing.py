"""Program files under ``mypy --strict``."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = """
from enum import IntEnum
from typing import Annotated, Any, Literal

from osmia import Array, Bytes, Char, Program, PtRegs, TracepointArgs, XdpContext, comm, current, kenum, pid, s32, u32, u64, user_str
from osmia.helpers import bpf_get_prandom_u32
from osmia.ktypes import task_struct, tcp_state
from osmia.lang.net import XDP_DROP, XDP_PASS, EthHdr

prog = Program("sample")


class Kind(IntEnum):
    ONE = 1


@prog.struct
class Key:
    pid: u32
    name: Char[16] = ""


@prog.event(columns={"took": "ms"})
class Event:
    took: u64
    kind: Kind
    key: Key
    raw: Bytes[6]
    values: Array[u32, 4]
    text: Annotated[str, Char[8]]
    other: Char[Literal[8]]


table = prog.hash(Key, u64)
by_tuple = prog.hash(tuple[u32, Char[16]], Event)
events = prog.ring(Event)
counts = prog.counter(Char[16])
spread = prog.histogram(u32)
verbose = prog.option("verbose", bool, False, "more")
total = prog.var(u64, 0)


@prog.func
def both(a: u32, b: u32) -> u64:
    return a + b


@prog.tracepoint("syscalls:sys_enter_openat")
def enter(args: TracepointArgs) -> None:
    key = Key(pid=pid(), name=comm())
    table[key] += both(1, 2)
    value = by_tuple.get((1, "x"))
    if value is not None:
        value.took += value.key.pid + value.values[0]
        reveal_type(value.text)
    counts[comm()] += 1
    spread[pid()].record(5)
    if verbose and current().tgid == 1:
        total.value += bpf_get_prandom_u32()
    room = events.reserve()
    if room is not None:
        room.text = user_str(args.filename)
        events.submit(room)


@prog.btf_tracepoint("sched_switch")
def switch(preempt: bool, prev: task_struct, next: task_struct) -> None:
    reveal_type(prev.tgid)


@prog.xdp
def drop(ctx: XdpContext) -> int:
    eth = ctx.packet(EthHdr)
    reveal_type(eth)
    if eth is None:
        return XDP_PASS
    return XDP_DROP if eth.proto == 3 else XDP_PASS


@prog.uprobe("bash", "readline")
def probe(regs: PtRegs) -> None:
    reveal_type(regs.arg(0))


@prog.on(events)
def show(event: Event) -> None:
    print(event.took, event.text)


@prog.at_end
def finish() -> None:
    for key, count in table.items():
        reveal_type(key)
        reveal_type(count)


if __name__ == "__main__":
    prog.run()
"""
WRONG = {
    "Event(took=1)": "Missing positional argument",
    "Key(pidd=1)": "Unexpected keyword argument",
    "Key(pid='x')": "incompatible type",
    "table[1]": "Invalid index type",
    "events.submit(Key(1))": "incompatible type",
    "table.get(Key(1)) + 1": "Unsupported operand types",
    "events.reserve().took": "has no attribute",
    "both('x', 1)": "incompatible type",
    "u32('x') + 'y'": "Unsupported operand",
}


def mypy(path):
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(path)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.slow
def test_a_good_program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(GOOD)
    found = mypy(path).stdout
    assert "error:" not in found, found
    revealed = [
        line.split("Revealed type is ")[1].strip().strip('"') for line in found.splitlines() if "Revealed" in line
    ]
    names = [name.replace("builtins.", "").replace("program.", "") for name in revealed]
    assert names == ["str", "Any", "osmia.lang.net.EthHdr | None", "int", "Key", "int"]


@pytest.mark.slow
def test_mistakes_are_found(tmp_path):
    path = tmp_path / "program.py"
    start = len(GOOD.splitlines())
    path.write_text(GOOD + "\n".join(WRONG) + "\n")
    found = mypy(path).stdout.splitlines()
    import re

    for offset, (line, message) in enumerate(WRONG.items()):
        errors = [
            item
            for item in found
            if item.startswith(f"{path.name}:{start + offset + 1}:") or f":{start + offset + 1}: error" in item
        ]
        assert any(re.search(message, item) for item in errors), (line, errors)
