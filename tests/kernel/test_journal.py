"""What outlives a killed process is written down, and the next run removes it."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap

import pytest

from osmia.diagnostics import LoadError
from osmia.kernel import journal, netlink, pins

CHILD = """
    import os, sys, time
    from osmia.kernel import journal
    journal.folder = lambda: {folder!r}
    from osmia.kernel.load import load
    from osmia.kernel.attach import attach
    from osmia.object.layout import U32
    from osmia.object.spec import *
    def program(kind, attach_type=0, verdict=0):
        spec = CollectionSpec('x')
        code = bytes([0xb7, 0, 0, 0, verdict, 0, 0, 0]) + bytes.fromhex('9500000000000000')
        spec.programs['p'] = ProgramSpec('p', 's', kind, code, attach_type=attach_type)
        return load(spec).programs['p']
    {body}
    print('ready', flush=True)
    time.sleep(60)
"""


def killed(folder, body):
    """Runs ``body`` in a child until it is ready, and kills it."""
    code = textwrap.dedent(CHILD).format(folder=folder, body=body)
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    waiting = journal.entries()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return waiting


@pytest.mark.kernel
@pytest.mark.parametrize("kind", ["tc", "xdp"])
def test_a_killed_process_leaves_a_filter_that_is_removed(journal_dir, netns, kind):
    hook = (
        f"link = attach(program(3), Hook('tc', 'far', {{'direction': 'ingress'}}), netns={netns.path!r}, link=False)"
        if kind == "tc"
        else f"link = attach(program(6, 37, 2), Hook('xdp', 'far'), netns={netns.path!r}, link=False)"
    )
    (waiting,) = killed(journal_dir, hook)
    assert waiting.facts["kind"] == kind

    def attached():
        with netns.inside(), netlink.Route() as route:
            index = socket.if_nametoindex("far")
            return route.xdp_of(index)[1] != 0 or (route.has_clsact(index) and bool(route.filters(index, "ingress")))

    assert attached()
    (cleaned,) = journal.clean_stale()
    assert cleaned.done and "far" in cleaned.description and not attached()
    assert journal.clean_stale() == [] and os.listdir(journal_dir) == []
    with netns.inside(), netlink.Route() as route:
        assert not route.has_clsact(socket.if_nametoindex("far"))


@pytest.mark.kernel
def test_a_killed_process_leaves_a_cgroup_program_that_is_removed(journal_dir, cgroup):
    from osmia.kernel import syscall

    body = f"link = attach(program(9, 2, 1), Hook('cgroup', 'sock_create', {{'path': {cgroup!r}}}), mode='multi')"
    killed(journal_dir, body)
    folder = os.open(cgroup, os.O_RDONLY)
    try:
        assert len(syscall.prog_query(folder, 2)) == 1
        (cleaned,) = journal.clean_stale()
        assert cleaned.done and syscall.prog_query(folder, 2) == []
    finally:
        os.close(folder)


@pytest.mark.kernel
def test_a_killed_process_leaves_temporary_pins_that_are_removed(journal_dir, bpffs):
    pinned = [
        f"program(1).pin({bpffs!r} + '/{name}', temporary={name != 'lasting'})"
        for name in ("brief", "lasting", "other")
    ]
    killed(journal_dir, "; ".join(pinned))
    # Somebody puts another object under one of the names: it is not ours to remove.
    os.unlink(f"{bpffs}/other")
    os.mkdir(f"{bpffs}/other")
    results = journal.clean_stale()
    assert sorted(item.done for item in results) == [False, True]
    assert {"lasting", "other"} == set(os.listdir(bpffs)) - {"maps.debug", "progs.debug"}
    pins.unpin(f"{bpffs}/lasting")


@pytest.mark.kernel
def test_entries_of_living_processes_stay(journal_dir, kit, netns):
    from osmia.kernel.attach import attach
    from osmia.object.spec import Hook

    program, _ = kit.counting("sched_cls", mine=False)
    with attach(program, Hook("tc", "far", {"direction": "ingress"}), netns=netns.path, link=False):
        assert journal.clean_stale() == [] and len(journal.entries()) == 1


@pytest.mark.kernel
def test_a_namespace_that_is_gone(journal_dir, netns):
    body = f"link = attach(program(3), Hook('tc', 'far', {{'direction': 'ingress'}}), netns={netns.path!r}, link=False)"
    killed(journal_dir, body)
    subprocess.run(["ip", "netns", "del", netns.name], check=True, timeout=20)
    (cleaned,) = journal.clean_stale()
    assert not cleaned.done and not cleaned.problem and journal.entries() == []


def test_records(journal_dir):
    entry = journal.record("pin", path="/sys/fs/bpf/x", object=5)
    assert os.stat(journal_dir).st_mode & 0o777 == 0o700 and os.stat(entry.path).st_mode & 0o777 == 0o600
    (found,) = journal.entries()
    assert found.facts == entry.facts and found.alive and "/sys/fs/bpf/x" in found.describe()
    found.change(object=6)
    assert journal.entries()[0].facts["object"] == 6
    found.forget()
    found.forget()
    assert journal.entries() == []


def stale(folder, name="1-1-1.json", **facts):
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/{name}"
    with open(path, "w") as file:
        json.dump({"pid": 1 << 22, "start": 5, "boot": journal.boot_id(), **facts}, file)
    return path


@pytest.mark.parametrize(
    "facts",
    [
        {"kind": "pin", "path": "/etc/hostname", "object": 0},
        {"kind": "pin", "path": "/nonexistent", "object": 1},
        {"kind": "tc", "netns": 1, "ifindex": 1, "direction": "ingress", "prog_id": 1, "qdisc": True, "device": "x"},
        {"kind": "xdp", "netns": 1, "ifindex": 1, "flags": 0, "prog_id": 1, "device": "x"},
        {"kind": "cgroup", "path": "/nonexistent", "attach_type": 1, "prog_id": 1},
        {"kind": "tc"},
        {"kind": "magic"},
        {"kind": "pin", "boot": "another", "path": "/etc/hostname"},
    ],
)
def test_stale_entries_that_nothing_is_left_of(journal_dir, facts):
    stale(journal_dir, **facts)
    (cleaned,) = journal.clean_stale()
    assert not cleaned.done and journal.entries() == [] and os.path.exists("/etc/hostname")


def test_damaged_files_and_links_are_left_alone(journal_dir, tmp_path):
    stale(journal_dir, kind="magic")
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    os.symlink(outside, f"{journal_dir}/2.json")
    for name, text in (("3.json", "{"), ("4.json", "[]"), ("5.json", "x" * 100_000), ("note.txt", "{}")):
        with open(f"{journal_dir}/{name}", "w") as file:
            file.write(text)
    os.mkfifo(f"{journal_dir}/6.json")
    assert len(journal.clean_stale()) == 1 and outside.exists()


def test_a_folder_of_others_is_not_trusted(journal_dir):
    stale(journal_dir, kind="magic")
    os.chmod(journal_dir, 0o777)
    assert journal.entries() == [] and journal.clean_stale() == []
    with pytest.raises(LoadError) as caught:
        journal.record("pin", path="/x")
    assert caught.value.code == "KRN050"


def test_a_folder_that_cannot_be_made(monkeypatch):
    monkeypatch.setattr(journal, "folder", lambda: "/proc/nonexistent/osmia")
    with pytest.raises(LoadError) as caught:
        journal.record("pin", path="/x")
    assert caught.value.code == "KRN050" and journal.entries() == []


def test_where_the_journal_is(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert journal.folder() == "/run/osmia"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    assert journal.folder() == "/run/user/1000/osmia"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert journal.folder() == "/run/user/1000/osmia"


def test_starts_tell_processes_apart():
    assert journal.process_start(os.getpid()) > 0 and journal.process_start(1 << 22) == 0
