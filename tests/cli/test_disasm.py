"""``osmia disasm``: listings of objects and of loaded programs."""

import json
import shutil
import subprocess

import pytest

from osmia.cli.main import main
from osmia.runtime.listing import code_of, entries, text_lines

C_SOURCE = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); }
counts SEC(".maps");
const volatile __u32 limit = 3;
static __attribute__((noinline)) int bump(__u32 key)
{
    __u64 *value = bpf_map_lookup_elem(&counts, &key);
    if (!value)
        return 0;
    __sync_fetch_and_add(value, 1);
    return 1;
}
SEC("xdp") int first(struct xdp_md *ctx)
{
    if (bpf_get_smp_processor_id() > limit)
        return 1;
    return bump(7);
}
SEC("xdp") int second(struct xdp_md *ctx)
{
    return 2;
}
char LICENSE[] SEC("license") = "GPL";
"""


@pytest.fixture(scope="module")
def clang_object(tmp_path_factory):
    """An object that clang made."""
    folder = tmp_path_factory.mktemp("clang")
    source = folder / "two.bpf.c"
    source.write_text(C_SOURCE)
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    machine = subprocess.run(["gcc", "-print-multiarch"], capture_output=True, text=True, check=False).stdout.strip()
    flags = ["-g", "-O2", "-target", "bpf", "-mcpu=v3", f"-I/usr/include/{machine}"]
    done = subprocess.run(
        ["clang", *flags, "-c", source, "-o", folder / "two.bpf.o"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"clang cannot compile it: {done.stderr.splitlines()[0]}")
    return folder / "two.bpf.o"


# -- listings ----------------------------------------------------------------------------------------------------------


def test_listing_of_a_spec(collection):
    program = collection.programs["cli_count"]
    lines = text_lines(code_of(collection, program))
    assert lines[:4] == [
        "cli_count:",
        "; counted.py:2:5  runs[0] += 1",
        "  0: r6 = r1",
        "  1: call bpf_get_smp_processor_id",
    ]
    (wide,) = [line for line in lines if line.startswith("  5:")]
    assert wide.endswith("; map cli_runs")
    assert any(line.endswith("if r0 == 0 goto L_12") for line in lines)
    at = lines.index("L_12:")
    assert lines[at + 1 : at + 3] == ["; counted.py:3:5  return XDP_PASS", " 12: r0 = 2"]
    assert lines[-1] == " 13: exit"


def test_bytes_are_those_of_the_program(collection):
    program = collection.programs["cli_count"]
    shown = b"".join(entry.raw for entry in entries(code_of(collection, program)))
    assert shown == program.insns
    text = text_lines(code_of(collection, program), raw=True, sources=False)
    hexadecimal = "".join(
        line.split(":", 1)[1].strip()[:23] if ":" in line else line.strip()
        for line in text
        if line[:1] == " " or line[:1].isdigit()
    )
    assert bytes.fromhex(hexadecimal.replace(" ", "")) == program.insns
    assert not any(line.startswith(";") for line in text)


def test_what_is_no_instruction_is_shown_as_bytes(collection):
    program = collection.programs["cli_count"]
    program.insns = bytes.fromhex("ff00000000000000 9500000000000000".replace(" ", ""))
    program.functions, program.lines, program.relocs = [], [], []
    assert text_lines(code_of(collection, program)) == ["  0: .raw ff 00 00 00 00 00 00 00", "  1: exit"]


def test_an_empty_program(collection):
    program = collection.programs["cli_count"]
    program.insns, program.relocs = b"", []
    assert text_lines(code_of(collection, program)) == []


# -- objects -----------------------------------------------------------------------------------------------------------


def test_an_object_of_clang(clang_object, capsys):
    assert main(["disasm", str(clang_object)]) == 0
    text = capsys.readouterr().out
    assert "first: xdp, " in text and "second: xdp, 2 instructions, licence GPL" in text
    assert "call bpf_get_smp_processor_id" in text
    assert "; map .rodata (limit)" in text and "; map counts" in text
    assert "call bump" in text and "\nbump:\n" in text
    assert ";" in text and "two.bpf.c:" in text and "return bump(7);" in text


def test_selection(clang_object, capsys):
    assert main(["disasm", str(clang_object), "--program", "second"]) == 0
    text = capsys.readouterr().out
    assert "second:" in text and "first" not in text
    assert main(["disasm", str(clang_object), "-p", "secnd"]) == 2
    shown = capsys.readouterr().err
    assert "error[CLI011]" in shown and "did you mean 'second'?" in shown


def test_json(clang_object, capsys):
    assert main(["disasm", str(clang_object), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    first, second = data["programs"]
    assert (first["name"], second["name"]) == ("first", "second")
    assert first["hook"] == {"kind": "xdp", "target": ""} and first["license"] == "GPL"
    assert [row["text"] for row in second["instructions"]][-1] == "exit"
    assert sum(len(row["bytes"]) for row in second["instructions"]) == 16 * second["instructions_count"]
    labels = {row["label"] for row in first["instructions"] if "label" in row}
    targets = {row["text"].split(" goto ")[1] for row in first["instructions"] if " goto " in row["text"]}
    assert targets and targets == labels
    assert any(row.get("refers_to") == "map counts" for row in first["instructions"])
    assert {row["function"] for row in first["instructions"] if "function" in row} == {"first", "bump"}
    assert all(row["source"]["line"] > 0 for row in first["instructions"] if "source" in row)


def test_no_source(clang_object, capsys):
    assert main(["disasm", str(clang_object), "--no-source"]) == 0
    assert "two.bpf.c" not in capsys.readouterr().out


# -- what cannot be disassembled ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["disasm", "no-such-thing"], "CLI010"),
        (["disasm", "missing.bpf.o"], "RUN020"),
        (["disasm", "id:twelve"], "CLI010"),
        (["disasm", "missing.py"], "RUN022"),
        (["disasm", "opensnop"], "CLI010"),
        (["disasm", "opensnoop", "--jited"], "CLI012"),
        (["disasm", "id:1", "--program", "x"], "CLI012"),
    ],
)
def test_refusals(words, code, capsys):
    assert main(words) in (1, 2)
    shown = capsys.readouterr()
    assert f"error[{code}]" in shown.err and not shown.out


def test_a_damaged_object(clang_object, tmp_path, capsys):
    broken = tmp_path / "broken.bpf.o"
    data = clang_object.read_bytes()
    for size in (0, 3, 40, 64, len(data) // 2, len(data) - 1):
        broken.write_bytes(data[:size])
        assert main(["disasm", str(broken)]) == 1
        shown = capsys.readouterr()
        assert "error[" in shown.err and "Traceback" not in shown.err and not shown.out


# -- loaded programs ---------------------------------------------------------------------------------------------------


@pytest.mark.kernel
def test_a_loaded_program_by_id(loaded, capsys):
    number = loaded.programs["cli_count"].id
    assert main(["disasm", f"id:{number}"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"cli_count: xdp, id {number}, tag ")
    map_id = loaded.maps["cli_runs"].info().id
    assert f"; map cli_runs (id {map_id})" in text
    assert "htab_map_lookup_elem" in text or "call bpf_map_lookup_elem" in text
    assert ".raw" not in text


@pytest.mark.kernel
def test_machine_code(loaded, capsys):
    program = loaded.programs["cli_count"]
    assert main(["disasm", f"id:{program.id}", "--jited", "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)["programs"]
    code = b"".join(bytes.fromhex(part["bytes"]) for part in data["machine_code"])
    assert len(code) == program.info().jited_size == data["machine_code_bytes"] > 0
    assert main(["disasm", f"id:{program.id}", "--jited"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    shown = bytes.fromhex("".join(row.split(":")[1] for row in rows if row.startswith(" ")).replace(" ", ""))
    assert shown == code


@pytest.mark.kernel
def test_a_loaded_program_by_pin(loaded, bpffs, capsys):
    loaded.programs["cli_count"].pin(str(bpffs / "counted"))
    assert main(["disasm", str(bpffs / "counted")]) == 0
    assert capsys.readouterr().out.startswith("cli_count: xdp, id ")


@pytest.mark.kernel
def test_a_loaded_program_by_name(collection, capsys):
    from osmia.kernel.load import load

    name = "cli_nm_wanted"
    program = collection.programs.pop("cli_count")
    program.name = name
    program.functions = [(0, 0, name)]
    collection.programs[name] = program
    with load(collection):
        assert main(["disasm", f"name:{name}"]) == 0
        assert capsys.readouterr().out.startswith(f"{name}: xdp")
        with load(collection):
            assert main(["disasm", f"name:{name}"]) == 2
            assert "error[CLI013]" in capsys.readouterr().err
    assert main(["disasm", f"name:{name}"]) == 2
    assert "error[CLI011]" in capsys.readouterr().err


@pytest.mark.kernel
def test_an_id_that_nobody_has(capsys):
    assert main(["disasm", "id:4294967294"]) == 1
    assert "error[KRN030]" in capsys.readouterr().err


# -- program files -----------------------------------------------------------------------------------------------------

PROGRAM = """
from osmia import Program, TracepointArgs, u32, u64

prog = Program("pages")
faults = prog.hash(u32, u64)


@prog.tracepoint("syscalls:sys_enter_getppid")
def enter(args: TracepointArgs) -> None:
    faults[7] += 1
"""


def test_a_program_file_with_its_own_lines(tmp_path, capsys):
    path = tmp_path / "pages.py"
    path.write_text(PROGRAM)
    assert main(["disasm", str(path), "--program", "enter"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("enter: tracepoint/syscalls/sys_enter_getppid, ")
    assert "; pages.py:10:" in text and "faults[7] += 1" in text
    assert "; map faults" in text and "call bpf_map_update_elem" in text


def test_a_program_that_cannot_be_compiled(tmp_path, capsys):
    path = tmp_path / "pages.py"
    path.write_text(PROGRAM.replace("+= 1", "/= 2"))
    assert main(["disasm", str(path)]) == 1
    shown = capsys.readouterr()
    assert "error[PY" in shown.err and "pages.py:10:" in shown.err and not shown.out


def test_a_tool(capsys):
    assert main(["disasm", "runqlat", "--json"]) == 0
    programs = json.loads(capsys.readouterr().out)["programs"]
    assert "switched" in [program["name"] for program in programs]
    texts = [row["text"] for program in programs for row in program["instructions"]]
    assert texts and not [text for text in texts if text.startswith(".raw")]
    assert any("CO-RE: offset of task_struct" in row.get("refers_to", "") for row in programs[0]["instructions"])
