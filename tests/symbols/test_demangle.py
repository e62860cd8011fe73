import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osmia.symbols.demangle import demangle, without_version

needs_runtime = pytest.mark.skipif(demangle("_Z1fv") != "f()", reason="no C++ runtime library to demangle names with")


@needs_runtime
@pytest.mark.parametrize(
    ("mangled", "plain"),
    [
        ("_ZN3foo3barEi", "foo::bar(int)"),
        ("__ZN3foo3barEi", "foo::bar(int)"),
        ("_ZN3foo3barEi.cold", "foo::bar(int) [clone .cold]"),
        ("_ZN3foo3barEi.part.0", "foo::bar(int) [clone .part.0]"),
        ("_ZN3foo3barEi.isra.0.constprop.1", "foo::bar(int) [clone .isra.0.constprop.1]"),
        ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
        (
            "_ZN60_$LT$alloc..string..String$u20$as$u20$core..fmt..Display$GT$3fmt17h0123456789abcdefE",
            "<alloc::string::String as core::fmt::Display>::fmt",
        ),
        ("_ZN4main28_$u7b$$u7b$closure$u7d$$u7d$17h0123456789abcdefE", "main::{{closure}}"),
    ],
)
def test_mangled_names(mangled, plain):
    assert demangle(mangled) == plain


@pytest.mark.parametrize(
    "name", ["", "main", "_start", "_Z", "_Zgarbage!", "_ZN3foo", "_RNvC6_123foo3bar", "Z3foov", "\ud800"]
)
def test_other_names_stay(name):
    assert demangle(name) == name


def test_names_that_would_explode_stay():
    bomb = "_Z1fSt4pairI" + "St4pairIiiE" + "St4pairIS0_S0_E" * 60 + "E"
    assert demangle(bomb) == bomb
    long = "_Z" + "9" * 5000
    assert demangle(long) == long


@given(st.text(st.sampled_from("_ZNSt3foo4barEIiT0S1.$LTGTu20h"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_name_is_answered(text):
    assert isinstance(demangle("_Z" + text), str)


def test_versions():
    assert without_version("memcpy@@GLIBC_2.14") == "memcpy"
    assert without_version("memcpy@GLIBC_2.2.5") == "memcpy"
    assert without_version("memcpy") == "memcpy"
