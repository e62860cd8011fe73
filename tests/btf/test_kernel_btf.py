import os
import subprocess
import sys
import textwrap

import pytest

from osmia.btf import Btf, BtfBuilder, build_id, kernel_btf, module_btf, module_names
from osmia.btf import kernel as kernel_module
from osmia.btf.types import (
    ALL_KINDS,
    KIND_NAMES,
    AnyEnum,
    Array,
    Composite,
    DataSec,
    DeclTag,
    Enum,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Ptr,
    Struct,
    TypeTag,
    Var,
)
from osmia.diagnostics import BtfError

from .conftest import VMLINUX, fill

ENCODINGS = {"(none)": 0, "SIGNED": 1, "CHAR": 2, "BOOL": 4}


def as_bpftool(found):
    """A type as a row of ``bpftool btf dump -j``."""
    row = {"id": found.id, "kind": found.kind_name.upper(), "name": found.name or "(anon)"}
    if isinstance(found, Int):
        encoding = {value: name for name, value in ENCODINGS.items()}[found.encoding]
        row |= {"size": found.size, "bits_offset": found.offset, "nr_bits": found.bits, "encoding": encoding}
    elif isinstance(found, Array):
        row |= {"type_id": found.type_id, "index_type_id": found.index_type_id, "nr_elems": found.count}
    elif isinstance(found, Composite):
        members = []
        for member in found.members:
            entry = {"name": member.name or "(anon)", "type_id": member.type_id, "bits_offset": member.bit_offset}
            if member.bit_size:
                entry["bitfield_size"] = member.bit_size
            members.append(entry)
        row |= {"size": found.size, "vlen": len(members), "members": members}
    elif isinstance(found, AnyEnum):
        values = [{"name": value.name, "val": value.value} for value in found.values]
        encoding = "SIGNED" if found.signed else "UNSIGNED"
        row |= {"encoding": encoding, "size": found.size, "vlen": len(values), "values": values}
    elif isinstance(found, Fwd):
        row["fwd_kind"] = "union" if found.is_union else "struct"
    elif isinstance(found, FuncProto):
        params = [{"name": param.name or "(anon)", "type_id": param.type_id} for param in found.params]
        row |= {"ret_type_id": found.type_id, "vlen": len(params), "params": params}
    elif isinstance(found, Func | Var):
        row |= {"type_id": found.type_id, "linkage": ("static", "global", "extern")[found.linkage]}
    elif isinstance(found, DataSec):
        entries = [{"type_id": e.type_id, "offset": e.offset, "size": e.size} for e in found.entries]
        row |= {"size": found.size, "vlen": len(entries), "vars": entries}
    elif isinstance(found, Float):
        row["size"] = found.size
    else:
        row["type_id"] = found.type_id
        if isinstance(found, DeclTag):
            row["component_idx"] = found.component
    return row


def theirs(row):
    if row["kind"] == "DATASEC":
        for entry in row["vars"]:
            entry.pop("name", None)
            entry.pop("type", None)
    if row["kind"] == "ENUM" and row["encoding"] == "UNSIGNED":
        for value in row["values"]:
            value["val"] &= 0xFFFFFFFF  # bpftool's JSON sign-extends them, its C text does not
    return row


def test_types_agree_with_bpftool(vmlinux, bpftool_types):
    assert len(bpftool_types) == vmlinux.end_id - 1
    rare = [cls for cls in ALL_KINDS[1:] if cls not in (Func, FuncProto, Ptr, Array)]
    chosen = set(range(1, vmlinux.end_id, 13))
    for cls in rare:
        chosen.update(vmlinux.ids_of_kind(cls)[:400])
    seen = set()
    for type_id in chosen:
        found = vmlinux.by_id(type_id)
        assert as_bpftool(found) == theirs(bpftool_types[type_id])
        seen.add(found.kind)
    assert len(seen) >= 15, [KIND_NAMES[kind] for kind in seen]


def test_names_and_kinds_agree_with_bpftool(vmlinux, bpftool_types):
    by_name = {}
    for type_id, row in bpftool_types.items():
        by_name.setdefault(row["name"], []).append(type_id)
        if not type_id % 29:
            assert KIND_NAMES[vmlinux.kind_of(type_id)].upper() == row["kind"]
            assert (vmlinux.name_of(type_id) or "(anon)") == row["name"]
    assert len(by_name) > 50_000
    for name in [*list(by_name)[1::400], "task_struct", "u64", "vfs_read", "page", "bool"]:
        if name != "(anon)":
            assert vmlinux.ids_by_name(name) == by_name[name]


def test_kinds_agree_with_bpftool(vmlinux, bpftool_types):
    for cls in (Struct, Enum, Fwd, DeclTag, TypeTag):
        expected = [i for i, row in bpftool_types.items() if row["kind"] == KIND_NAMES[cls.kind].upper()]
        assert vmlinux.ids_of_kind(cls) == expected


def test_enumerators_agree_with_bpftool(vmlinux, bpftool_types):
    enums = [row for row in bpftool_types.values() if row["kind"] in ("ENUM", "ENUM64")]
    for row in enums[::60]:
        for value in theirs(row)["values"][:3]:
            found = [(enum.id, v.value) for enum, v in vmlinux.find_enumerators(value["name"])]
            assert (row["id"], value["val"]) in found
    assert vmlinux.enum_value("BPF_MAP_TYPE_HASH") == 1


def test_functions_of_the_kernel(vmlinux):
    function, proto = vmlinux.func("vfs_read")
    assert [param.name for param in proto.params] == ["file", "buf", "count", "pos"]
    assert vmlinux.c_dump(function) == (
        "static ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos);"
    )


def test_kfuncs_are_tagged(vmlinux):
    tagged = {vmlinux.name_of(tag.type_id) for tag in vmlinux.of_kind(DeclTag) if tag.name == "bpf_kfunc"}
    if not tagged:
        pytest.skip("this kernel's BTF has no bpf_kfunc tags")
    function = vmlinux.by_name(sorted(tagged)[0], Func)
    assert [tag.name for tag in vmlinux.decl_tags(function.id)].count("bpf_kfunc") == 1


def test_misspelled_kernel_names(vmlinux):
    with pytest.raises(BtfError) as caught:
        vmlinux.by_name("task_strct", Struct)
    assert "task_struct" in caught.value.hint
    assert vmlinux.nearest_names("vfs_raed", Func)[0] == "vfs_read"
    assert vmlinux.nearest_names("") == []
    with pytest.raises(BtfError) as caught:
        vmlinux.find_member(vmlinux.by_name("task_struct", Struct), "com")
    assert "comm" in caught.value.hint


def test_one_object_per_process(vmlinux):
    assert kernel_btf() is vmlinux
    assert module_btf("vmlinux") is vmlinux


def test_a_kernel_without_btf(tmp_path, fresh_kernel):
    with pytest.raises(BtfError) as caught:
        kernel_btf(folder=str(tmp_path))
    assert caught.value.code == "BTF030"
    assert "CONFIG_DEBUG_INFO_BTF" in caught.value.hint
    assert module_names(str(tmp_path / "none")) == []


@pytest.fixture
def small_folder(tmp_path, fresh_kernel):
    """A folder like /sys/kernel/btf with a small kernel and one module."""
    base = BtfBuilder()
    ids = fill(base)
    kernel = base.build()
    module = BtfBuilder(kernel)
    module.add(Struct("driver", 8, [Member("node", module.add(Ptr(ids["node"])), 0)]))
    module.add(Enum("driver_mode", 4, [Enumerator("DRIVER_ON", 1)]))
    (tmp_path / "vmlinux").write_bytes(kernel.raw)
    (tmp_path / "drv").write_bytes(module.to_bytes())
    (tmp_path / "broken").write_bytes(module.to_bytes()[:50])
    return tmp_path


def test_modules(small_folder):
    folder = str(small_folder)
    assert module_names(folder) == ["broken", "drv"]
    module = module_btf("drv", folder=folder)
    assert module.base is kernel_btf(folder=folder)
    assert module.by_name("driver", Struct).members[0].name == "node"
    assert module.enum_value("DRIVER_ON") == 1
    assert module.by_name("node", Struct).size == 72
    assert module_btf("drv", folder=folder) is module
    with pytest.raises(BtfError) as caught:
        module_btf("nfs", folder=folder)
    assert caught.value.code == "BTF032"
    assert "drv" in caught.value.hint
    with pytest.raises(BtfError, match="BTF003"):
        module_btf("broken", folder=folder)
    with pytest.raises(BtfError, match="BTF032"):
        module_btf("../drv", folder=folder)


def test_a_kernel_that_cannot_be_mapped_is_read(small_folder, monkeypatch):
    def refuse(*arguments, **options):
        raise OSError(19, "No such device")

    monkeypatch.setattr(kernel_module.mmap, "mmap", refuse)
    found = kernel_btf(folder=str(small_folder))
    assert isinstance(found.raw, bytes)
    assert found.by_name("node", Struct).size == 72


def test_an_unreadable_kernel(tmp_path, fresh_kernel):
    (tmp_path / "vmlinux").mkdir()
    with pytest.raises(BtfError, match="BTF031"):
        kernel_btf(folder=str(tmp_path))


def test_an_empty_kernel(tmp_path, fresh_kernel):
    (tmp_path / "vmlinux").touch()
    with pytest.raises(BtfError, match="BTF001"):
        kernel_btf(folder=str(tmp_path))


def note(name, kind, content):
    header = b"".join(number.to_bytes(4, sys.byteorder) for number in (len(name), len(content), kind))
    return header + name + bytes(-len(name) % 4) + content + bytes(-len(content) % 4)


def test_build_id(tmp_path):
    path = tmp_path / "notes"
    path.write_bytes(note(b"Linux\0", 1, b"abc") + note(b"GNU\0", 4, b"zz") + note(b"GNU\0", 3, bytes(range(20))))
    assert build_id(str(path)) == bytes(range(20)).hex()
    path.write_bytes(note(b"Linux\0", 1, b"abc"))
    assert build_id(str(path)) == ""
    path.write_bytes(b"\xff" * 50)
    assert build_id(str(path)) == ""
    assert build_id(str(tmp_path / "none")) == ""


def test_key_without_a_build_id(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_module, "build_id", lambda: "")
    path = tmp_path / "vmlinux"
    path.write_bytes(b"a")
    key = kernel_module.kernel_key(str(path))
    assert key == kernel_module.kernel_key(str(path))
    assert len(key) == 40
    path.write_bytes(b"ab")
    assert kernel_module.kernel_key(str(path)) != key


def test_the_running_kernels_build_id():
    if not os.path.exists("/sys/kernel/notes"):
        pytest.skip("the kernel shows no notes")
    assert len(build_id()) in (32, 40)


def test_the_index_is_kept_for_the_next_process(tmp_path):
    """By what the second process does, not by its time: no walk over the types, no sort."""
    if not VMLINUX.exists():
        pytest.skip("the kernel has no BTF")
    script = f"""
        import sys
        from osmia.btf import kernel_btf, reader
        calls = []
        for name in ("scan_types", "build_index"):
            real = getattr(reader, name)
            setattr(reader, name, lambda *a, real=real, name=name: (calls.append(name), real(*a))[1])
        found = kernel_btf({str(tmp_path / "cache")!r}).by_name("task_struct")
        assert not {{"numpy", "typing", "dataclasses", "inspect", "re", "enum"}} & set(sys.modules)
        print(found.id, found.size, *calls)
    """
    command = [sys.executable, "-S", "-c", textwrap.dedent(script)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    first, second = (
        subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment) for _ in range(2)
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    number, size, *calls = first.stdout.split()
    assert calls == ["scan_types", "build_index"]
    assert second.stdout.split() == [number, size]


def test_look_ups_by_name_decode_nothing_else(fresh_kernel):
    if not VMLINUX.exists():
        pytest.skip("the kernel has no BTF")
    btf = kernel_btf()
    btf.by_name("task_struct")
    assert len(btf._types) == 2


def test_copies_of_vmlinux_are_read_as_well(vmlinux):
    btf = Btf.from_bytes(bytes(vmlinux.raw))
    assert btf.end_id == vmlinux.end_id
    assert btf.by_name("task_struct") == vmlinux.by_name("task_struct")
