"""The cache keeps what it is given and trusts nobody else's files."""

import errno
import os
import stat
import subprocess
import sys

import pytest

from osmia.runtime.cache import Cache, default_root

KEY = bytes(range(32))


@pytest.fixture
def cache(tmp_path):
    return Cache(str(tmp_path / "cache"))


def entry_path(cache):
    return os.path.join(cache.root, "objects", KEY.hex())


def test_round_trip(cache):
    data = ("name", b"\0\1", {"a": (1, 2)}, None, 2**63)
    assert cache.load("objects", KEY) is None
    assert cache.store("objects", KEY, data)
    assert cache.load("objects", KEY) == data
    assert cache.load("programs", KEY) is None
    assert cache.note == ""


def test_entries_are_private(cache):
    cache.store("objects", KEY, 1)
    assert stat.S_IMODE(os.stat(entry_path(cache)).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.join(cache.root, "objects")).st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_an_entry_that_others_can_write_is_not_used(cache, mode):
    cache.store("objects", KEY, 1)
    os.chmod(entry_path(cache), mode)
    assert cache.load("objects", KEY) is None
    assert "written by others" in cache.note


def test_a_folder_that_others_can_write_is_not_used(cache):
    cache.store("objects", KEY, 1)
    os.chmod(cache.root, 0o777)
    assert cache.load("objects", KEY) is None
    assert not cache.store("objects", KEY, 2)
    assert "written by others" in cache.note


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_root_never_uses_what_another_user_cached(cache):
    cache.store("objects", KEY, 1)
    os.chown(entry_path(cache), 65534, 65534)
    assert cache.load("objects", KEY) is None
    assert "belongs to user 65534" in cache.note
    os.chown(entry_path(cache), 0, 0)
    assert cache.load("objects", KEY) == 1
    os.chown(cache.root, 65534, 65534)
    assert cache.load("objects", KEY) is None


def test_a_symbolic_link_is_not_followed(cache, tmp_path):
    cache.store("objects", KEY, 1)
    real = tmp_path / "elsewhere"
    os.rename(entry_path(cache), real)
    os.symlink(real, entry_path(cache))
    assert cache.load("objects", KEY) is None


@pytest.mark.parametrize("cut", [0, 4, 20, 30])
def test_a_truncated_entry_is_ignored(cache, cut):
    cache.store("objects", KEY, list(range(100)))
    with open(entry_path(cache), "r+b") as file:
        file.truncate(cut)
    assert cache.load("objects", KEY) is None
    assert "damaged" in cache.note


def test_a_cache_from_another_version_is_ignored(cache):
    cache.store("objects", KEY, 1)
    with open(entry_path(cache), "r+b") as file:
        file.write(b"OSMIA\x00\x01\n")
    assert cache.load("objects", KEY) is None
    assert "another version" in cache.note
    assert cache.store("objects", KEY, 3)
    assert cache.load("objects", KEY) == 3


def test_a_full_disk_fails_no_run(cache, monkeypatch):
    real = os.rename

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    assert not cache.store("objects", KEY, 1)
    assert "No space left" in cache.note
    monkeypatch.setattr(os, "rename", real)
    assert os.listdir(os.path.join(cache.root, "objects")) == []


def test_two_users_of_one_folder_at_once(cache):
    """Two processes that store the same key leave one whole entry."""
    script = (
        "import sys; from osmia.runtime.cache import Cache\n"
        "cache = Cache(sys.argv[1])\n"
        "for n in range(200):\n"
        "    cache.store('objects', bytes(range(32)), ['x' * 5000, n]); data = cache.load('objects', bytes(range(32)))\n"
        "    assert data is not None and len(data[0]) == 5000\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", script, cache.root]) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    assert cache.load("objects", KEY) == ["x" * 5000, 199]
    assert len(os.listdir(os.path.join(cache.root, "objects"))) == 1


def test_old_entries_are_pruned(cache, monkeypatch):
    monkeypatch.setattr("osmia.runtime.cache._LIMIT", 8)
    for number in range(12):
        cache.store("objects", number.to_bytes(32, "big"), number)
    assert len(os.listdir(os.path.join(cache.root, "objects"))) <= 8
    assert cache.load("objects", (11).to_bytes(32, "big")) == 11


def test_clear(cache):
    cache.store("objects", KEY, 1)
    cache.store("programs", KEY, 1)
    assert cache.clear() == 2
    assert cache.load("objects", KEY) is None


def test_root_ignores_home(monkeypatch):
    monkeypatch.delenv("OSMIA_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_root() == "/var/cache/osmia"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_root() == "/home/somebody/.cache/osmia"
