"""Program texts compiled, and run by the reference evaluator or the kernel."""

import functools
import itertools
import sys
import textwrap
from types import ModuleType

import pytest

from osmia.compiler.evaluate import Evaluator
from osmia.compiler.legality import check
from osmia.diagnostics import MultiError, OsmiaError
from osmia.frontends.python import compile_program

HEADER = """\
from __future__ import annotations
import socket
from copy import copy
from enum import IntEnum
from typing import Any
from osmia import *
from osmia import Program
from osmia.lang.net import *
prog = Program("sample")
"""
_count = itertools.count()


@functools.cache
def running_btf():
    from osmia.btf import kernel_btf
    from osmia.diagnostics import BtfError

    try:
        return kernel_btf()
    except BtfError:
        pytest.skip("this kernel has no BTF")


class Sample:
    """A program text as a module."""

    def __init__(self, folder, text, header=HEADER):
        self.path = folder / f"sample_{next(_count)}.py"
        self.text = header + textwrap.dedent(text)
        self.path.write_text(self.text)
        self.module = ModuleType(self.path.stem)
        self.module.__file__ = str(self.path)
        sys.modules[self.module.__name__] = self.module
        exec(compile(self.text, str(self.path), "exec", dont_inherit=True), vars(self.module))
        self.program = self.module.prog

    def __getattr__(self, name):
        return getattr(self.module, name)

    def ir(self, btf=None):
        module = compile_program(self.program, btf=btf)
        check(module)
        return module

    def evaluator(self, btf=None, **settings):
        return Evaluator(self.ir(btf), **settings)

    def errors(self, btf=None):
        """The errors of compiling it."""
        try:
            compile_program(self.program, btf=btf)
        except MultiError as error:
            return error.errors
        except OsmiaError as error:
            return [error]
        return []

    def line(self, number):
        return self.text.split("\n")[number - 1]


@pytest.fixture
def sample(tmp_path):
    def make(text, header=HEADER):
        return Sample(tmp_path, text, header)

    return make


@pytest.fixture
def value(sample):
    """Compiles ``body`` as a function of ``args`` and gives what it returns for them, as ``result`` or s64."""

    def run(body, *args, params=(), result="s64", before="", **settings):
        names = [item.split(":")[0].strip() for item in params]
        variables = "\n".join(
            f"in_{name} = prog.var({item.split(':')[1].strip()})" for name, item in zip(names, params, strict=True)
        )
        text = (
            textwrap.dedent(before) + f"\n{variables}\nout = prog.var({result})\n"
            f"def work({', '.join(params)}) -> {result}:\n" + textwrap.indent(textwrap.dedent(body), "    ") + "\n"
            "@prog.syscall\ndef main() -> int:\n"
            f"    out.value = work({', '.join(f'in_{name}.value' for name in names)})\n    return 0\n"
        )
        evaluator = sample(text).evaluator(**settings)
        for name, item in zip(names, args, strict=True):
            evaluator.globals[f"in_{name}"] = item
        evaluator.run("main")
        return evaluator.globals["out"]

    return run


@pytest.fixture
def refused(sample):
    """The one error of a program text: (code, the marked source text, error)."""

    def run(text, btf=None, header=HEADER):
        made = sample(text, header)
        errors = made.errors(btf)
        assert errors, "the program was accepted"
        error = errors[0]
        line = made.line(error.span.line)
        end = error.span.end_column if error.span.end_line == error.span.line else len(line)
        return error.code, line[error.span.column : end], error

    return run


@pytest.fixture
def btf():
    return running_btf()
