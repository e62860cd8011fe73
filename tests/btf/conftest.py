"""A BTF blob with every kind, and the tools that tests compare with."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from osmia.btf import BtfBuilder, kernel_btf
from osmia.btf import kernel as kernel_module
from osmia.btf.types import (
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    LINKAGE_GLOBAL,
    LINKAGE_STATIC,
    Array,
    Const,
    DataSec,
    DeclTag,
    Enum,
    Enum64,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Ptr,
    Restrict,
    SecEntry,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    Volatile,
)

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def fill(builder):
    """Add types of every kind; the ids by a handle each."""
    ids = {}
    ids["int"] = number = builder.add(Int("int", 4, INT_SIGNED))
    ids["char"] = char = builder.add(Int("char", 1, INT_CHAR))
    ids["bool"] = builder.add(Int("_Bool", 1, INT_BOOL))
    ids["ulong"] = ulong = builder.add(Int("long unsigned int", 8))
    ids["double"] = builder.add(Float("double", 8))
    ids["u64"] = u64 = builder.add(Typedef("u64", ulong))
    ids["const"] = const = builder.add(Const(char))
    ids["volatile"] = builder.add(Volatile(number))
    ids["text"] = text = builder.add(Ptr(const))
    ids["restrict"] = builder.add(Restrict(text))
    ids["tagged"] = builder.add(Ptr(builder.add(TypeTag("user", char))))
    ids["name"] = name = builder.add(Array(char, number, 16))
    ids["grid"] = grid = builder.add(Array(builder.add(Array(number, number, 3)), number, 2))
    ids["flexible"] = flexible = builder.add(Array(number, number, 0))
    ids["colour"] = colour = builder.add(Enum("colour", 4, [Enumerator("RED", -1), Enumerator("BLUE", 7)], signed=True))
    ids["flags"] = builder.add(Enum("flags", 4, [Enumerator("F_NONE", 0), Enumerator("F_TOP", 1 << 31)]))
    ids["huge"] = builder.add(Enum64("huge", 8, [Enumerator("HUGE", (1 << 64) - 1)]))
    ids["deep"] = builder.add(Enum64("deep", 8, [Enumerator("DEEP", -(1 << 63))], signed=True))
    ids["unseen"] = unseen = builder.add(Fwd("unseen"))
    ids["inner"] = inner = builder.add(Struct("", 8, [Member("low", number, 0), Member("high", number, 32)]))
    ids["either"] = either = builder.add(Union("", 8, [Member("whole", u64, 0), Member("", inner, 0)]))
    ids["node"] = node = builder.declare(Struct, "node")
    members = [
        Member("next", builder.add(Ptr(node)), 0),
        Member("name", name, 64),
        Member("", either, 192),
        Member("grid", grid, 256),
        Member("ready", number, 448, 1),
        Member("state", number, 449, 3),
        Member("colour", colour, 480),
        Member("hidden", builder.add(Ptr(unseen)), 512),
        Member("tail", flexible, 576),
    ]
    builder.define(node, Struct("node", 72, members))
    ids["packed"] = builder.add(Struct("packed", 5, [Member("a", char, 0), Member("b", number, 8)]))
    proto = builder.add(FuncProto(number, [Param("text", text), Param("node", builder.add(Ptr(node)))]))
    ids["proto"] = proto
    ids["callback"] = builder.add(Ptr(builder.add(FuncProto(0, [Param("", text), Param("", 0)]))))
    ids["walk"] = walk = builder.add(Func("walk", proto, LINKAGE_STATIC))
    ids["counter"] = counter = builder.add(Var("counter", u64, LINKAGE_GLOBAL))
    ids[".bss"] = builder.add(DataSec(".bss", 8, [SecEntry(counter, 0, 8)]))
    ids["tag"] = builder.add(DeclTag("kfunc", walk))
    ids["member_tag"] = builder.add(DeclTag("counted", node, 1))
    return ids


@pytest.fixture
def sample():
    """A readable blob of every kind, and the ids of its types by handle."""
    builder = BtfBuilder()
    ids = fill(builder)
    return builder.build(), ids


@pytest.fixture(scope="session")
def vmlinux():
    if not VMLINUX.exists():
        pytest.skip("the kernel has no BTF")
    return kernel_btf()


@pytest.fixture
def fresh_kernel(monkeypatch):
    """Forget what kernel_btf() has opened, for the time of a test."""
    monkeypatch.setattr(kernel_module, "_opened", {})


def run_bpftool(*arguments):
    if not shutil.which("bpftool"):
        pytest.skip("bpftool is not installed")
    return subprocess.run(["bpftool", *arguments], capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.fixture(scope="session")
def bpftool():
    return run_bpftool


@pytest.fixture(scope="session")
def bpftool_types():
    """The kernel's types as bpftool prints them, by id."""
    listed = json.loads(run_bpftool("btf", "dump", "-j", "file", str(VMLINUX)))["types"]
    return {row["id"]: row for row in listed}
