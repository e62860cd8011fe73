from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from osmia.abi import attach_types, commands, link_types, map_types, prog_types
from osmia.diagnostics import UsageError

TABLES = {
    "ABI001": (prog_types.prog_type, prog_types.TABLE),
    "ABI002": (attach_types.attach_type, attach_types.TABLE),
    "ABI003": (link_types.link_type, link_types.TABLE),
    "ABI004": (commands.command, commands.TABLE),
    "ABI005": (map_types.map_type, map_types.TABLE),
}


@pytest.mark.parametrize("code", TABLES)
def test_every_row_is_found_by_name_number_and_kernel_name(code):
    get, table = TABLES[code]
    rows = list(table)
    assert [row.number for row in rows] == list(range(len(rows)))
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert get(row.name) is row
        assert get(row.number) is row
        assert get(row.kernel_name) is row
        assert table.number(row.name) == row.number
        assert row.name in table


@pytest.mark.parametrize("code", TABLES)
def test_unknown_names_and_numbers_are_refused_with_the_tables_code(code):
    get, table = TABLES[code]
    with pytest.raises(UsageError) as refused:
        get("no_such_thing_at_all")
    assert refused.value.code == code
    with pytest.raises(UsageError) as refused:
        get(len(table))
    assert refused.value.code == code
    assert str(len(table)) in refused.value.message
    assert table.find("no_such_thing_at_all") is None
    assert table.find(len(table)) is None


def test_a_misspelt_name_gets_a_suggestion():
    with pytest.raises(UsageError) as refused:
        map_types.map_type("percpu_hsah")
    assert "percpu_hash" in refused.value.hint


def test_versions_follow_the_numbers_except_where_merges_crossed():
    for _, table in TABLES.values():
        rows = list(table)
        backwards = [row.name for before, row in itertools.pairwise(rows) if row.version < before.version]
        assert backwards == []


def test_deprecated_and_alternative_names():
    assert map_types.map_type("BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED").name == "cgroup_storage"
    assert commands.command("BPF_PROG_RUN").name == "prog_test_run"


def test_attach_types_and_program_types_name_each_other():
    for prog in prog_types.prog_types():
        for name in prog.attach_types:
            assert prog.name in attach_types.attach_type(name).prog_types, (prog, name)
    for attach in attach_types.attach_types():
        if attach.link:
            assert link_types.link_type(attach.link).version <= max(attach.link_version, (5, 8))
        for name in attach.prog_types:
            assert attach.name in prog_types.prog_type(name).attach_types, (attach, name)


@pytest.mark.parametrize(
    ("section", "prog", "attach", "target", "flags"),
    [
        ("tracepoint/sched/sched_switch", "tracepoint", "", "sched/sched_switch", ()),
        ("tp/syscalls/sys_enter_openat", "tracepoint", "", "syscalls/sys_enter_openat", ()),
        ("uprobe.multi.s//bin/bash:readline", "kprobe", "trace_uprobe_multi", "/bin/bash:readline", ("sleepable",)),
        ("kprobe", "kprobe", "", "", ()),
        ("xdp.frags", "xdp", "xdp", "", ("frags",)),
        ("xdp", "xdp", "xdp", "", ()),
        ("tcx/egress", "sched_cls", "tcx_egress", "", ()),
        ("cgroup/connect_unix", "cgroup_sock_addr", "cgroup_unix_connect", "", ()),
        ("iter.s/task", "tracing", "trace_iter", "task", ("sleepable",)),
        ("syscall", "syscall", "", "", ("sleepable",)),
        ("sk_reuseport/migrate", "sk_reuseport", "sk_reuseport_select_or_migrate", "", ()),
    ],
)
def test_sections(section, prog, attach, target, flags):
    row, *rest = prog_types.section(section)
    assert row.name == prog
    assert rest == [attach, target, flags]


@pytest.mark.parametrize("section", ["xdp/eth0", "socket1", "kprobes/do_exit", "", ".text", "license", "maps"])
def test_other_sections_mean_nothing(section):
    assert prog_types.section(section) is None


def test_every_section_leads_to_its_row():
    for row in prog_types.prog_types():
        for name, attach, target, _ in row.sections:
            assert prog_types.section(name)[0] is row
            if attach:
                assert attach in row.attach_types
            if target:
                assert prog_types.section(name + "/x")[2] == "x"


HOT = "prog_types attach_types link_types map_types commands contexts uapi_bpf uapi_perf uapi_net tracepoints"


def test_the_tables_on_the_hot_path_import_nothing_heavy():
    banned = (
        "numpy llvmlite elftools rich dataclasses inspect ast typing tokenize asyncio logging subprocess click enum re"
    )
    program = (
        "import sys; before = set(sys.modules)\n"
        + "".join(f"import osmia.abi.{name}\n" for name in HOT.split())
        + "from osmia.abi.map_types import map_type; map_type('hash')\n"
        + "print(*sorted(set(sys.modules) - before))"
    )
    loaded = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False)
    if "No module named 'osmia'" in loaded.stderr:
        loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert loaded.returncode == 0, loaded.stderr
    modules = loaded.stdout.split()
    assert "osmia.abi.map_types" in modules
    assert not set(banned.split()) & set(modules)
