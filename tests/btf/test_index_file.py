import os
import stat
import subprocess
import sys
import textwrap

import pytest

from osmia.btf import Btf, BtfBuilder
from osmia.btf.index_file import IndexStore, is_private
from osmia.btf.types import Int, Typedef

from .conftest import fill

KEY = "0123456789abcdef"


@pytest.fixture
def data():
    builder = BtfBuilder()
    fill(builder)
    return builder.to_bytes()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def opened(data, folder, key=KEY):
    return Btf(data, store=IndexStore(str(folder), key))


def index_of(folder):
    return folder / f"btf-{KEY}.index"


def is_from_file(btf):
    """Whether the index came from a file; a built one is made of lists."""
    assert btf.ids_by_name("node")
    return isinstance(btf.index.starts, memoryview)


def test_the_second_reader_uses_the_file(data, folder):
    first = opened(data, folder)
    assert not is_from_file(first)
    second = opened(data, folder)
    assert is_from_file(second)
    for found in first:
        assert second.by_id(found.id) == found
        assert second.ids_by_name(found.name) == first.ids_by_name(found.name)


def test_file_and_folder_are_private(data, folder):
    old = os.umask(0)
    try:
        opened(data, folder).ids_by_name("node")
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(index_of(folder).stat().st_mode) == 0o600
    assert os.listdir(folder) == [index_of(folder).name]


def corrupt(position, value):
    def change(path):
        content = bytearray(path.read_bytes())
        content[position] ^= value
        path.write_bytes(content)

    return change


@pytest.mark.parametrize(
    "change",
    [
        corrupt(0, 1),
        corrupt(8, 1),
        corrupt(12, 2),
        corrupt(16, 1),
        corrupt(24, 1),
        corrupt(36, 1),
        corrupt(40, 1),
        corrupt(-1, 1),
        lambda path: path.write_bytes(path.read_bytes()[:-4]),
        lambda path: path.write_bytes(path.read_bytes()[:30]),
        lambda path: path.write_bytes(path.read_bytes() + b"\0" * 4),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0" * 1000),
        lambda path: path.write_text("hello" * 100),
    ],
)
def test_corrupt_files_are_replaced(data, folder, change):
    opened(data, folder).ids_by_name("node")
    good = index_of(folder).read_bytes()
    change(index_of(folder))
    assert not is_from_file(opened(data, folder))
    assert index_of(folder).read_bytes() == good
    assert is_from_file(opened(data, folder))


def test_every_single_wrong_byte_is_noticed(data, folder):
    opened(data, folder).ids_by_name("node")
    good = index_of(folder).read_bytes()
    for position in range(0, len(good), 7):
        content = bytearray(good)
        content[position] ^= 0x40
        index_of(folder).write_bytes(content)
        store = IndexStore(str(folder), KEY)
        btf = Btf(data)
        assert store.load(btf._header, btf._words) is None, position


def test_a_file_of_another_version_is_replaced(data, folder, monkeypatch):
    from osmia.btf import index_file

    monkeypatch.setattr(index_file, "FORMAT_VERSION", index_file.FORMAT_VERSION + 1)
    opened(data, folder).ids_by_name("node")
    monkeypatch.undo()
    assert not is_from_file(opened(data, folder))
    assert is_from_file(opened(data, folder))


def test_a_file_of_other_data_is_not_used(data, folder):
    opened(data, folder).ids_by_name("node")
    builder = BtfBuilder()
    fill(builder)
    builder.add(Typedef("more", builder.add(Int("int", 4, 1))))
    other = opened(builder.to_bytes(), folder)
    assert other.by_name("more")
    index_of(folder).rename(folder / "btf-ffff.index")
    assert not is_from_file(opened(builder.to_bytes(), folder, "ffff"))


def test_a_file_that_others_may_write_is_not_used(data, folder):
    opened(data, folder).ids_by_name("node")
    index_of(folder).chmod(0o620)
    assert not is_from_file(opened(data, folder))
    assert stat.S_IMODE(index_of(folder).stat().st_mode) == 0o600


def test_a_folder_that_others_may_write_is_not_used(data, folder):
    opened(data, folder).ids_by_name("node")
    written = index_of(folder).stat().st_mtime_ns
    folder.chmod(0o777)
    assert not is_from_file(opened(data, folder))
    assert index_of(folder).stat().st_mtime_ns == written


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_and_folders_of_another_user_are_not_used(data, folder):
    opened(data, folder).ids_by_name("node")
    os.chown(index_of(folder), 12345, -1)
    assert not is_from_file(opened(data, folder))
    assert index_of(folder).stat().st_uid == 0
    os.chown(folder, 12345, -1)
    assert not is_from_file(opened(data, folder))
    assert is_private(index_of(folder).stat())


def test_a_link_in_place_of_the_file_is_not_followed(data, folder, tmp_path):
    opened(data, folder).ids_by_name("node")
    elsewhere = tmp_path / "elsewhere"
    index_of(folder).rename(elsewhere)
    before = elsewhere.read_bytes()
    index_of(folder).symlink_to(elsewhere)
    assert not is_from_file(opened(data, folder))
    assert not index_of(folder).is_symlink()
    assert elsewhere.read_bytes() == before


def test_a_pipe_in_place_of_the_file_does_not_hang(data, folder):
    folder.mkdir(mode=0o700)
    os.mkfifo(index_of(folder), 0o600)
    assert not is_from_file(opened(data, folder))


@pytest.mark.parametrize("bad", ["file", "under a file", "dev", "nul"])
def test_a_folder_that_cannot_be_made_is_no_error(data, tmp_path, bad):
    (tmp_path / "x").write_text("a file")
    where = {
        "file": tmp_path / "x",
        "under a file": tmp_path / "x" / "y",
        "dev": "/proc/self/osmia-cache",
        "nul": "a" * 5000,
    }[bad]
    assert not is_from_file(opened(data, where))
    assert (tmp_path / "x").read_text() == "a file"


def test_a_full_disk_is_no_error(data, folder, tmp_path):
    """A file size limit makes the kernel refuse the write half way, as a full disk does."""
    (tmp_path / "x.btf").write_bytes(data)
    script = f"""
        import resource, signal
        from osmia.btf import Btf
        from osmia.btf.index_file import IndexStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        store = IndexStore({str(folder)!r}, {KEY!r})
        btf = Btf(open({str(tmp_path / "x.btf")!r}, "rb").read(), store=store)
        assert btf.by_name("node").size == 72
        assert not store.save(btf._header, btf.index)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)
    assert os.listdir(folder) == []


def test_two_writers_at_once_leave_one_good_file(data, folder, tmp_path):
    (tmp_path / "x.btf").write_bytes(data)
    script = f"""
        from osmia.btf import Btf
        from osmia.btf.index_file import IndexStore
        data = open({str(tmp_path / "x.btf")!r}, "rb").read()
        for _ in range(100):
            btf = Btf(data)
            IndexStore({str(folder)!r}, {KEY!r}).save(btf._header, btf.index)
            index = IndexStore({str(folder)!r}, {KEY!r}).load(btf._header, btf._words)
            assert index is not None and list(index.starts) == list(btf.index.starts)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert os.listdir(folder) == [index_of(folder).name]
