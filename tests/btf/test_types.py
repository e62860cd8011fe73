import pytest

from osmia.btf.types import (
    ALL_KINDS,
    KIND_NAMES,
    AnyEnum,
    Array,
    Composite,
    Const,
    Enum,
    FuncProto,
    Int,
    Member,
    Modifier,
    Param,
    Ptr,
    Struct,
    Typedef,
    Union,
    Void,
)


def test_every_kind_has_its_class_in_order():
    assert len(ALL_KINDS) == len(KIND_NAMES) == 20
    for number, cls in enumerate(ALL_KINDS):
        assert (cls.kind, cls.MASK) == (number, 1 << number)


def test_base_classes_stand_for_their_kinds():
    for base in (Composite, AnyEnum, Modifier):
        members = sum(cls.MASK for cls in ALL_KINDS if issubclass(cls, base))
        assert members == base.MASK


def test_equality_is_by_fields_not_by_id():
    one, two = Typedef("u32", 3), Typedef("u32", 3)
    two.id = 77
    assert one == two
    assert hash(one) == hash(two)
    assert one != Typedef("u32", 4)
    assert Ptr(3) != Const(3)
    assert Struct("a", 4) != Union("a", 4)


def test_types_have_no_room_for_other_attributes():
    for cls in ALL_KINDS:
        assert "__dict__" not in dir(cls)


def test_repr_shows_the_fields():
    assert repr(Member("a", 1, 32)) == "Member(name='a', type_id=1, bit_offset=32, bit_size=0)"
    assert repr(Void()) == "Void()"


def test_refs_and_their_replacement():
    cases = [
        (Ptr(2), (2,)),
        (Array(2, 3, 4), (2, 3)),
        (Struct("s", 8, [Member("a", 5, 0), Member("b", 6, 32)]), (5, 6)),
        (FuncProto(7, [Param("x", 8)]), (7, 8)),
        (Typedef("t", 9), (9,)),
        (Enum("e", 4), ()),
    ]
    for found, refs in cases:
        assert found.refs() == refs
        assert found.with_refs(lambda ref: ref + 100).refs() == tuple(ref + 100 for ref in refs)
        assert found.with_refs(lambda ref: ref) == found


@pytest.mark.parametrize(("proto", "variadic"), [(FuncProto(0), False), (FuncProto(0, [Param("", 0)]), True)])
def test_variadic(proto, variadic):
    assert proto.variadic is variadic


def test_int_defaults_to_all_its_bits():
    assert Int("u32", 4).bits == 32
    assert Int("int", 4, 1).signed
    assert not Int("u32", 4).signed
    assert Int("_Bool", 1, 4).is_bool
