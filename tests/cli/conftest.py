"""Objects to look at, and programs of the tests' own in the kernel."""

import os

import pytest

from osmia.isa.assembler import assemble
from osmia.isa.instruction import encode_program
from osmia.object.spec import CollectionSpec, Hook, LineInfo, MapSpec, ProgramSpec, Reloc

SOURCE = """\
    r6 = r1
    call bpf_get_smp_processor_id
    *(u32 *)(r10 - 4) = r0
    r2 = r10
    r2 += -4
    r1 = 0 ll
    call bpf_map_lookup_elem
    if r0 == 0 goto done
    r1 = *(u64 *)(r0 + 0)
    r1 += 1
    *(u64 *)(r0 + 0) = r1
done:
    r0 = 2
    exit
"""
MAP_SLOT = 5


@pytest.fixture
def collection(tmp_path):
    """A collection of one XDP program that counts in a map, with source lines in a file of the test's own."""
    from osmia.abi import helpers, prog_types

    numbers = {f"bpf_{row.name}": row.number for row in helpers.helpers()}
    insns = bytearray(encode_program(assemble(SOURCE, helpers=numbers)))
    insns[MAP_SLOT * 8 + 1] |= 1 << 4  # a wide load of a map's descriptor
    source = tmp_path / "counted.py"
    source.write_text("def count(ctx):\n    runs[0] += 1\n    return XDP_PASS\n")
    spec = CollectionSpec("counted")
    spec.maps["cli_runs"] = MapSpec("cli_runs", "hash", key_size=4, value_size=8, max_entries=4)
    spec.programs["cli_count"] = ProgramSpec(
        "cli_count",
        "xdp",
        prog_types.TABLE.number("xdp"),
        bytes(insns),
        functions=[(0, 0, "cli_count")],
        lines=[LineInfo(0, str(source), "", 2, 5), LineInfo(12, str(source), "return XDP_PASS", 3, 5)],
        relocs=[Reloc(MAP_SLOT, "map", "cli_runs")],
        hook=Hook("xdp"),
    )
    return spec


@pytest.fixture
def loaded(collection):
    """The collection in the kernel; gone after the test."""
    from osmia.kernel.load import load

    with load(collection) as live:
        yield live


@pytest.fixture
def bpffs(tmp_path):
    """A bpf file system of the test's own."""
    import subprocess

    folder = tmp_path / "bpf"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    done = subprocess.run(["mount", "-t", "bpf", "bpf", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a bpf file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
