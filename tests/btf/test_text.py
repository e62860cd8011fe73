import re

import pytest

from osmia.btf import BtfBuilder
from osmia.btf.types import (
    AnyEnum,
    Array,
    Const,
    DataSec,
    FuncProto,
    Int,
    Member,
    Param,
    Ptr,
    SecEntry,
    Struct,
    Typedef,
    Union,
    Var,
    Volatile,
)
from osmia.diagnostics import BtfError


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("int", "int"),
        ("u64", "u64"),
        ("text", "const char *"),
        ("volatile", "volatile int"),
        ("restrict", "const char * restrict"),
        ("tagged", 'char __attribute__((btf_type_tag("user"))) *'),
        ("name", "char[16]"),
        ("grid", "int[2][3]"),
        ("node", "struct node"),
        ("either", "union {...}"),
        ("colour", "enum colour"),
        ("unseen", "struct unseen"),
        ("callback", "void (*)(const char *, ...)"),
        ("proto", "int (const char *text, struct node *node)"),
    ],
)
def test_type_names(sample, handle, text):
    btf, ids = sample
    assert btf.c_type_name(ids[handle]) == text


@pytest.mark.parametrize(
    ("handle", "text"),
    [
        ("name", "char x[16]"),
        ("grid", "int x[2][3]"),
        ("text", "const char *x"),
        ("restrict", "const char * restrict x"),
        ("callback", "void (*x)(const char *, ...)"),
    ],
)
def test_declarations(sample, handle, text):
    btf, ids = sample
    assert btf.c_declare(ids[handle], "x") == text


def test_void():
    btf = BtfBuilder().build()
    assert btf.c_type_name(0) == "void"


def test_intricate_declarators():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    row = builder.add(Array(number, number, 3))
    to_row = builder.add(Ptr(row))
    gives_row = builder.add(FuncProto(to_row, []))
    table = builder.add(Array(builder.add(Ptr(gives_row)), number, 4))
    constant = builder.add(Const(builder.add(Ptr(builder.add(Volatile(number))))))
    nested = builder.add(Ptr(builder.add(FuncProto(constant, [Param("cb", builder.add(Ptr(gives_row)))]))))
    btf = builder.build()
    assert btf.c_declare(to_row, "x") == "int (*x)[3]"
    assert btf.c_declare(table, "x") == "int (*(*x[4])(void))[3]"
    assert btf.c_declare(constant, "x") == "volatile int * const x"
    assert btf.c_declare(nested, "x") == "volatile int * const (*x)(int (*(*cb)(void))[3])"


def test_definitions(sample):
    btf, ids = sample
    assert btf.c_dump(ids["node"]) == (
        "struct node {\n"
        "\tstruct node *next;\n"
        "\tchar name[16];\n"
        "\tunion {\n"
        "\t\tu64 whole;\n"
        "\t\tstruct {\n"
        "\t\t\tint low;\n"
        "\t\t\tint high;\n"
        "\t\t};\n"
        "\t};\n"
        "\tint grid[2][3];\n"
        "\tint ready: 1;\n"
        "\tint state: 3;\n"
        "\tenum colour colour;\n"
        "\tstruct unseen *hidden;\n"
        "\tint tail[0];\n"
        "};"
    )
    assert btf.c_dump(ids["packed"]).endswith("} __attribute__((packed));")
    assert btf.c_dump(ids["colour"]) == "enum colour {\n\tRED = -1,\n\tBLUE = 7,\n};"
    assert btf.c_dump(ids["huge"]) == "enum huge {\n\tHUGE = 18446744073709551615ULL,\n};"
    assert btf.c_dump(ids["deep"]) == "enum deep {\n\tDEEP = -9223372036854775808LL,\n};"
    assert btf.c_dump(ids["u64"]) == "typedef long unsigned int u64;"
    assert btf.c_dump(ids["walk"]) == "static int walk(const char *text, struct node *node);"
    assert btf.c_dump(ids["unseen"]) == "struct unseen;"
    assert btf.c_dump(ids["counter"]) == "u64 counter;"
    assert btf.c_dump(ids[".bss"]) == "/* section .bss, 8 bytes */ {\n\t/* 0 8 */ u64 counter;\n}"
    assert btf.c_dump(ids["tag"]) == '/* btf_decl_tag("kfunc") on func walk */'
    assert "component 1" in btf.c_dump(ids["member_tag"])
    assert btf.c_dump(ids["int"]) == "/* int int, 4 bytes */"
    assert btf.c_dump(ids["text"]) == "const char *"


def test_offsets_in_comments_are_from_the_outermost_struct(sample):
    btf, ids = sample
    lines = btf.c_dump(ids["node"], offsets=True).splitlines()
    assert "\t\t\tint high; /* 28 4 */" in lines
    assert "\tint state: 3; /* 56:1 1 */" in lines
    assert "\tchar name[16]; /* 8 16 */" in lines


def test_offsets_behind_a_pointer_start_anew():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    pointer = builder.add(Ptr(builder.add(Struct("", 8, [Member("a", number, 0), Member("b", number, 32)]))))
    outer = builder.add(Struct("s", 16, [Member("x", number, 0), Member("p", pointer, 64)]))
    text = builder.build().c_dump(outer, offsets=True)
    assert "\t\tint b; /* 4 4 */" in text
    assert "} *p; /* 8 8 */" in text


def test_a_section_of_something_else_is_refused():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    variable = builder.add(Var("v", number))
    section = builder.add(DataSec(".data", 4, [SecEntry(variable, 0, 4)]))
    btf = builder.build()
    btf._types[section] = DataSec(".data", 4, [SecEntry(number, 0, 4)])
    with pytest.raises(BtfError, match="BTF009"):
        btf.c_dump(section)


def test_kernel_definitions_agree_with_bpftool(vmlinux, bpftool):
    """Every twelfth type of vmlinux.h that has its name for itself; layout is bpftool's own, so blanks are ignored."""
    header = bpftool("btf", "dump", "file", "/sys/kernel/btf/vmlinux", "format", "c")
    classes = {"struct": Struct, "union": Union, "enum": AnyEnum}
    pattern = re.compile(r"^((struct|union|enum) (\w+) \{\n.*?^\}[^\n]*;)$", re.MULTILINE | re.DOTALL)
    compared = 0
    for text, word, name in pattern.findall(header)[::12]:
        ids = vmlinux.ids_by_name(name, classes[word])
        if len(ids) == 1 and "___" not in text:
            theirs = re.sub(r" (?:long|int|short|char): \d+;", "", plain(text))  # bpftool spells padding out
            assert plain(vmlinux.c_dump(ids[0])) == theirs
            compared += 1
    assert compared > 500


def plain(text):
    return " ".join(text.split()).replace("* (*", "*(*").replace("{}", "{ }")


def test_typedef_of_an_anonymous_struct():
    builder = BtfBuilder()
    number = builder.add(Int("int", 4, 1))
    struct = builder.add(Struct("", 4, [Member("counter", number, 0)]))
    typedef = builder.add(Typedef("atomic_t", struct))
    assert builder.build().c_dump(typedef) == "typedef struct {\n\tint counter;\n} atomic_t;"
