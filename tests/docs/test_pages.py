"""The pages written by hand: links lead somewhere, commands exist, and the programs in them compile."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])
BLOCK = re.compile(r"^( *)```([\w ]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
PROGRAM_PAGES = [ROOT / "README.md", ROOT / "docs" / "tour.md", ROOT / "docs" / "howto-test.md"]


def page_id(path):
    return str(path.relative_to(ROOT))


def anchors(text):
    """The anchors of a page's headings, as its host makes them."""
    found = set()
    for heading in re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE
    ):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        found.add(plain.replace(" ", "-"))
    return found


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_lead_somewhere(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"`[^`\n]*`", "", text)
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        other = (path.parent / file).resolve() if file else path
        if not other.exists() or (anchor and anchor not in anchors(other.read_text(encoding="utf-8"))):
            broken.append(target)
    assert not broken


def command_lines():
    for path in PAGES:
        if "reference" in path.parts:
            continue
        for _, language, body in BLOCK.findall(path.read_text(encoding="utf-8")):
            if language in ("sh", ""):
                for line in body.splitlines():
                    if "osmia " not in line:
                        continue
                    words = shlex.split(line, comments=True)
                    names = [word.rsplit("/", 1)[-1] for word in words]
                    if "osmia" in names[:2]:
                        yield pytest.param(words[names.index("osmia") + 1 :], id=f"{page_id(path)}: {line.strip()}")


@pytest.mark.parametrize("words", list(command_lines()))
def test_commands_exist_with_their_options(words):
    from osmia.cli import complete
    from osmia.cli.main import COMMANDS
    from osmia.runtime.programs import find_program, tool_names

    name, *rest = words
    assert name in COMMANDS
    rest = rest[: rest.index("--")] if "--" in rest else rest
    command = next(each for each in complete.commands() if each.name == name)
    options = {flag: option for option in command.options for flag in option.flags}
    if name == "run" and rest[0] in tool_names():
        options = {flag: option for option in complete.run_options(find_program(rest[0])) for flag in option.flags}
    elif name == "run":
        options |= {flag: complete.Option([flag], takes, "") for flag, takes in PAGE_OPTIONS.items()}
    skip = False
    for word in rest:
        if skip:
            skip = False
        elif word.startswith("-"):
            assert word in options, f"osmia {name} has no option {word}"
            skip = options[word].takes


# Options of the programs that the pages themselves show.
PAGE_OPTIONS = {"--least": True, "--failed": False, "--interface": True, "--port": True}


def programs():
    """The program files of the pages: blocks with a ``Program``, with the fragments that continue them."""
    for path in PROGRAM_PAGES:
        current = ""
        number = 0
        for _, language, body in BLOCK.findall(path.read_text(encoding="utf-8")):
            if language != "python":
                continue
            if " = Program(" in body:
                if current:
                    number += 1
                    yield pytest.param(current, id=f"{page_id(path)}-{number}")
                current = body
            else:
                assert current, f"{path}: a fragment that continues nothing"
                head, main, tail = current.partition('\n\nif __name__ == "__main__":')
                current = f"{head}\n\n{body}{main}{tail}"
        if current:
            yield pytest.param(current, id=f"{page_id(path)}-{number + 1}")


def refused():
    """Programs that a page shows as refused, with the error that it shows."""
    for path in PROGRAM_PAGES:
        blocks = BLOCK.findall(path.read_text(encoding="utf-8"))
        for (_, language, source), (_, _, shown) in itertools.pairwise(blocks):
            if language == "python refused":
                yield pytest.param(source, shown, id=page_id(path))


@pytest.mark.parametrize(("source", "shown"), list(refused()))
def test_errors_of_the_pages_are_those_that_come(source, shown, tmp_path):
    from osmia.diagnostics import CompileError
    from osmia.diagnostics.render import render
    from osmia.frontends.python import compile_program
    from osmia.runtime.pipeline import target_btf
    from osmia.runtime.programs import find_program

    path = tmp_path / shown.split(":")[0]
    path.write_text(source)
    program = find_program(str(path))
    program.resolve_names()
    with pytest.raises(CompileError) as caught:
        compile_program(program, btf=target_btf())
    assert render(caught.value).replace(f"{tmp_path}/", "") == shown


def test_the_pages_have_programs():
    found = [param.id for param in programs()]
    assert len([name for name in found if "tour" in name]) >= 7
    assert any("README" in name for name in found) and any("howto-test" in name for name in found)


@pytest.mark.parametrize("source", list(programs()))
def test_programs_of_the_pages_compile(source, tmp_path):
    from osmia.runtime.pipeline import compile_spec
    from osmia.runtime.programs import find_program

    path = tmp_path / "page.py"
    path.write_text(source)
    program = find_program(str(path))
    program.resolve_names()
    spec = compile_spec(program)
    assert set(spec.programs) >= {function.name for function in program.functions}
    assert all(row.insns for row in spec.programs.values())


@pytest.mark.kernel
@pytest.mark.parametrize("source", list(programs()))
def test_this_kernel_accepts_the_programs_of_the_pages(source, tmp_path):
    from osmia.runtime.check import check_target

    path = tmp_path / "page.py"
    path.write_text(source)
    assert all(row["verified"] > 0 for row in check_target(str(path)))


@pytest.mark.kernel
def test_the_tests_of_the_test_page_pass(tmp_path):
    (source,) = [param.values[0] for param in programs() if "howto-test" in param.id]
    path = tmp_path / "page.py"
    path.write_text(source)
    from osmia.runtime.programs import find_program

    space = find_program(str(path)).module_globals
    tests = [name for name in space if name.startswith("test_")]
    assert len(tests) == 3
    for name in tests:
        space[name]()


@pytest.mark.kernel
def test_the_tool_of_the_tour_does_what_its_example_says(tmp_path, run_osmia):
    import json

    (source,) = [param.values[0] for param in programs() if 'Program("unlinksnoop"' in param.values[0]]
    path = tmp_path / "unlinksnoop.py"
    path.write_text(source)
    wanted = tmp_path / "wanted"
    wanted.touch()
    done = run_osmia("run", str(path), "--json", "--", "rm", "-f", str(wanted), str(tmp_path / "missing"))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    seen = {(row["comm"], row["path"]): row["err"] for row in rows if "path" in row}
    assert seen[("rm", str(wanted))] == "0" and seen[("rm", str(tmp_path / "missing"))] == "ENOENT"


@pytest.mark.parametrize("path", [path for path in PAGES if "reference" not in path.parts], ids=page_id)
def test_files_that_a_page_names_exist(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|scripts|tests|examples|docs|benchmarks)/[\w./-]+)`", text)
    missing = [name for name in named if not (ROOT / name).exists() and "NAME" not in name and "AREA" not in name]
    assert not missing
