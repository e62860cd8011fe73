"""What the verifier's logs say. The logs are Linux 6.18's own, but for those marked otherwise."""

import pytest

from osmia.kernel.verifier_log import parse, unknown_helper

STATS = "processed 3 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n"
LOGS = {
    "context": (
        "0: R1=ctx() R10=fp0\n0: (61) r0 = *(u32 *)(r1 +400)\ninvalid bpf_context access off=400 size=4\n" + STATS,
        "invalid bpf_context access off=400 size=4",
        0,
        "r0 = *(u32 *)(r1 +400)",
    ),
    "uninitialised": (
        "0: R1=ctx() R10=fp0\n0: (95) exit\nR0 !read_ok\n" + STATS,
        "R0 !read_ok",
        0,
        "exit",
    ),
    "null": (
        "6: (85) call bpf_map_lookup_elem#1     ; R0=map_value_or_null(id=1,map=counts,ks=4,vs=8)\n"
        "7: (79) r0 = *(u64 *)(r0 +0)\nR0 invalid mem access 'map_value_or_null'\n" + STATS,
        "R0 invalid mem access 'map_value_or_null'",
        7,
        "r0 = *(u64 *)(r0 +0)",
    ),
    "lines of the source": (
        "; value = counts.get(1) @ x.py:12\n0: (b7) r1 = 1                        ; R1_w=1\n"
        "; return value.a @ x.py:13\n1: (79) r0 = *(u64 *)(r1 +0)\nR1 invalid mem access 'scalar'\n" + STATS,
        "R1 invalid mem access 'scalar'",
        1,
        "r0 = *(u64 *)(r1 +0)",
    ),
    "unreachable": ("unreachable insn 2\n" + STATS, "unreachable insn 2", 2, ""),
    "loop": (
        "0: (b7) r0 = 0                        ; R0_w=0\n1: (05) goto pc-1\n"
        "infinite loop detected at insn 1\ncur state: R0_w=0 R1=ctx() R10=fp0\nold state: R0_w=0 R1=ctx() R10=fp0\n"
        + STATS,
        "infinite loop detected at insn 1",
        1,
        "goto pc-1",
    ),
    "precision": (
        "3: (0f) r2 += r1\nmark_precise: frame0: last_idx 3 first_idx 0 subseq_idx -1 \n"
        "mark_precise: frame0: regs=r1 stack= before 2: (bf) r2 = r10\n"
        "math between fp pointer and register with unbounded\n" + STATS,
        "math between fp pointer and register with unbounded",
        3,
        "r2 += r1",
    ),
    "branches": (
        "from 2 to 4: R0=0 R10=fp0\n4: R0=0 R10=fp0\n4: (95) exit\nUnreleased reference id=2 alloc_insn=3\n" + STATS,
        "Unreleased reference id=2 alloc_insn=3",
        4,
        "exit",
    ),
    "old kernels' statistics": (
        "0: (95) exit\nR0 !read_ok\nverification time 21 usec\nstack depth 0\nprocessed 1 insns (limit 1000000)\n",
        "R0 !read_ok",
        0,
        "exit",
    ),
    "nothing": ("", "", -1, ""),
    "statistics only": (STATS, "", -1, ""),
}


@pytest.mark.parametrize("name", LOGS)
def test_last_words_and_instruction(name):
    log, message, insn, text = LOGS[name]
    found = parse(log)
    assert (found.message, found.insn, found.text) == (message, insn, text)


@pytest.mark.parametrize(
    "message, number",
    [
        ("invalid func unknown#4711", 4711),
        ("program of this type cannot use helper bpf_probe_read#4", 4),
        ("unknown func bpf_get_current_task#35", 35),
        ("R1 type=scalar expected=fp", -1),
    ],
)
def test_unknown_helpers(message, number):
    assert unknown_helper(message) == number
