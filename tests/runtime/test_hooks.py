"""Attaching: functions whose targets are only partly there."""

from __future__ import annotations

import os

import pytest

from osmia import Program, TracepointArgs, pid, u32, u64
from osmia.diagnostics import OsmiaError
from osmia.object.spec import CollectionSpec, Hook, ProgramSpec
from osmia.runtime.hooks import attach_all, describe_skipped
from osmia.runtime.options import RunOptions

pytestmark = pytest.mark.kernel


def split_program(second: str):
    """A loaded pair of programs as the front end splits a function, the second on a target of its own."""
    prog = Program("split")
    counts = prog.hash(u32, u64)

    @prog.tracepoint("syscalls:sys_enter_getppid")
    def enter(args: TracepointArgs) -> None:
        counts[pid()] += 1

    session = prog.open(attach=False, include_self=True, pid=os.getpid())
    session.__enter__()
    spec = session.spec
    both = ("syscalls:sys_enter_getppid", second)
    spec.programs["enter"].hook.options["one_of"] = both
    row = spec.programs["enter"]
    spec.programs["enter_2"] = ProgramSpec(
        "enter_2", row.section, row.prog_type, row.insns, hook=Hook("tracepoint", second, {"one_of": both})
    )
    session.loaded.programs["enter_2"] = session.loaded.programs["enter"]
    return session, counts


def attach(session, spec: CollectionSpec):
    links, skipped = [], []
    try:
        attach_all(spec, session.loaded, RunOptions(), links, skipped)
    finally:
        session.made = links
    return links, skipped


def test_a_missing_sister_target_is_skipped_and_said():
    session, counts = split_program("syscalls:sys_enter_no_such_call")
    try:
        links, skipped = attach(session, session.spec)
        os.getppid()
        assert counts[os.getpid()] == 1
        assert len(links) == 1
        assert "no_such_call" in describe_skipped(skipped)
    finally:
        for link in session.made:
            link.close()
        session.close()


def test_all_targets_missing_is_an_error():
    session, _ = split_program("syscalls:sys_enter_no_such_call")
    try:
        session.spec.programs["enter"].hook.target = "syscalls:sys_enter_neither"
        with pytest.raises(OsmiaError):
            attach(session, session.spec)
    finally:
        for link in session.made:
            link.close()
        session.close()
