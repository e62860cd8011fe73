"""The tables against the enums in the running kernel's BTF."""

from __future__ import annotations

import pytest

from osmia.abi import attach_types, commands, helpers, link_types, map_types, prog_types, uapi

ENUMS = {
    "bpf_prog_type": ("BPF_PROG_TYPE_", prog_types.TABLE),
    "bpf_attach_type": ("BPF_", attach_types.TABLE),
    "bpf_link_type": ("BPF_LINK_TYPE_", link_types.TABLE),
    "bpf_map_type": ("BPF_MAP_TYPE_", map_types.TABLE),
    "bpf_cmd": ("BPF_", commands.TABLE),
    "bpf_func_id": ("BPF_FUNC_", helpers.TABLE),
}
NO_ROWS = ("__MAX", "BPF_FUNC_unspec", "MAX_BPF", "BPF_COMMON_ATTRS")


@pytest.mark.parametrize("enum", ENUMS)
def test_every_enumerator_of_the_kernel_has_a_row_with_its_number(btf, known_kernel, enum):
    prefix, table = ENUMS[enum]
    enumerators = btf.enum(btf.find("enum", enum))
    assert len(enumerators) > 10
    for name, number in enumerators.items():
        if not name.startswith(NO_ROWS) and "_MAX_" not in name:
            row = table.find(name)
            assert row is not None, f"{name} = {number} has no row"
            assert row.number == number, name
            assert name.startswith(prefix)


@pytest.mark.parametrize("enum", ENUMS)
def test_rows_that_the_kernel_lacks_are_of_later_releases(btf, known_kernel, enum):
    from osmia.abi.kernel_versions import running

    values = set(btf.enum(btf.find("enum", enum)).values())
    for row in ENUMS[enum][1]:
        if row.version <= running()[:2]:
            assert row.number in values, row
        else:
            assert row.number not in values or row.number == max(values), row


def test_constants_have_the_values_of_the_kernels_enumerators(btf, known_kernel):
    enumerators = btf.enumerators()
    compared = 0
    for area in uapi.AREAS:
        for name in uapi.names(area):
            if name in enumerators and name not in GROWING:
                wanted = enumerators[name]
                assert uapi.constant(name) % 2**64 == wanted % 2**64, name
                compared += 1
    assert compared > 400


GROWING = {"SK_BPF_CB_MASK", "BPF_SOCK_OPS_ALL_CB_FLAGS"}


def test_the_uapi_enums_of_bpf_are_complete(btf, known_kernel):
    """Every enumerator of the enums that bpf.h declares without a name is among the constants."""
    missing = []
    for type_id, kind in enumerate(btf.kind):
        if kind == "enum" and not btf.name[type_id]:
            names = list(btf.enum(type_id))
            if any(name.startswith(("BPF_F_", "BPF_SOCK_OPS_", "BPF_FIB_", "BPF_RB_", "BPF_ADJ")) for name in names):
                missing += [name for name in names if name.startswith("BPF_") and uapi.find(name) is None]
    # Enumerators that the kernel keeps to itself.
    internal = ("BPF_F_NEIGH", "BPF_F_PEER", "BPF_F_NEXTHOP")
    assert [name for name in missing if not name.startswith(internal)] == []
