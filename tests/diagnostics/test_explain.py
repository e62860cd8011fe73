import pytest

from osmia.diagnostics import UsageError
from osmia.diagnostics.codes import all_codes
from osmia.diagnostics.explain import AREAS, area_of, code_list, code_names, explain, markdown


def test_a_page_starts_with_the_code_and_has_its_sections():
    page = explain("CLI090")
    assert page.startswith("CLI090: there is no such error code\n\nMEANING\n")
    assert [line for line in page.split("\n") if line in ("MEANING", "WHY", "EXAMPLE", "REPAIR")] == [
        "MEANING",
        "WHY",
        "EXAMPLE",
        "REPAIR",
    ]
    assert "    $ osmia explain SYM999\n" in page
    assert "```" not in page


@pytest.mark.parametrize("spelling", ["cli090", " CLI090 ", "error[CLI090]", "[CLI090]:"])
def test_spellings(spelling):
    assert explain(spelling) == explain("CLI090")


def test_colour_marks_headings_only():
    assert "\x1b[1mWHY\x1b[0m" in explain("CLI090", color=True)
    assert "\x1b" not in explain("CLI090")


@pytest.mark.parametrize(("code", "hint"), [("CLI09O", "CLI090"), ("SYM999", "SYM00"), ("what", "without a code")])
def test_unknown_codes_are_refused_with_near_ones(code, hint):
    with pytest.raises(UsageError) as caught:
        explain(code)
    assert caught.value.code == "CLI090"
    assert hint in caught.value.hint


def test_lists_hold_every_code_once():
    assert sorted(code_names()) == sorted(all_codes())
    assert [line.split()[0] for line in code_list().splitlines()] == code_names()


def test_reference_has_every_code_under_its_area():
    text = markdown()
    for name, row in all_codes().items():
        assert text.count(f"### {name}: {row.title}\n") == 1
    areas = list(dict.fromkeys(area_of(name) for name in code_names()))
    assert areas == [name for name in AREAS if name in areas]
    for area in areas:
        assert f"\n## {area}: {AREAS[area]}\n" in text
    assert text.count("\n#### Repair\n") == len(all_codes())
