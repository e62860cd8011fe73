"""Binaries built for the tests, and a way to make small ELF files of any kind by hand."""

import shutil
import struct
import subprocess

import pytest


class Compiler:
    """Builds programs with gcc in one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.count = 0

    def __call__(self, source, *flags, name=None, language="c"):
        """Compile C (``c++``) text to a file and return its path."""
        self.count += 1
        command = "g++" if language == "c++" else "gcc"
        if not shutil.which(command):
            pytest.skip(f"{command} is not installed")
        path = self.folder / (name or f"prog{self.count}")
        text = self.folder / f"source{self.count}.{'cc' if language == 'c++' else 'c'}"
        text.write_text(source)
        ran = subprocess.run(
            [command, "-O1", "-o", str(path), str(text), *flags], capture_output=True, text=True, check=False
        )
        assert not ran.returncode, ran.stderr
        return str(path)


@pytest.fixture(scope="session")
def cc(tmp_path_factory):
    if not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    return Compiler(tmp_path_factory.mktemp("binaries"))


@pytest.fixture(scope="session")
def run():
    def run(*command):
        if not shutil.which(command[0]):
            pytest.skip(f"{command[0]} is not installed")
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    return run


class ElfMaker:
    """Writes ELF files field by field, in every class and byte order."""

    def __call__(
        self,
        symbols=(),
        *,
        bits=64,
        order="<",
        machine=62,
        kind=3,
        base=0x1000,
        notes=b"",
        sections=(),
        build_id=b"",
    ):
        """One PT_LOAD of 0x1000 bytes of code at address ``base`` and file offset 0x1000.

        ``symbols`` are (name, value, size, type, binding, section index); section 1 is the code.
        ``sections`` are further (name, type, flags, address, contents).
        """
        names, entries = b"\0", [self._symbol(bits, order, 0, (0, 0, 0, 0, 0))]
        for name, *fields in symbols:
            entries.append(self._symbol(bits, order, len(names), fields))
            names += name.encode() + b"\0"
        if build_id:
            note = struct.pack(order + "III", 4, len(build_id), 3) + b"GNU\0" + build_id
            sections = [*sections, (".note.gnu.build-id", 7, 2, 0, note)]
        if notes:
            sections = [*sections, (".note.stapsdt", 7, 0, 0, notes)]
        table = [
            ("", 0, 0, 0, b"", 0),
            (".text", 1, 6, base, b"\x90" * 0x1000, 0),
            (".symtab", 2, 0, 0, b"".join(entries), 3),
            (".strtab", 3, 0, 0, names, 0),
        ]
        table += [(*section, 0) for section in sections]
        return self._file(table, bits, order, machine, kind, base)

    @staticmethod
    def _symbol(bits, order, name, fields):
        value, size, kind, binding, section = fields
        info = binding << 4 | kind
        if bits == 64:
            return struct.pack(order + "IBBHQQ", name, info, 0, section, value, size)
        return struct.pack(order + "IIIBBH", name, value, size, info, 0, section)

    @staticmethod
    def _file(table, bits, order, machine, kind, base):
        section_names = b"\0"
        headers, body = [], bytearray(0x1000)
        table = [*table, (".shstrtab", 3, 0, 0, None, 0)]
        for name, type_, flags, address, contents, link in table:
            at = len(section_names) if name else 0
            section_names += (name.encode() + b"\0") if name else b""
            if contents is None:
                contents = section_names
            offset = len(body) if name else 0
            body += contents
            body += b"\0" * (-len(body) % 16)
            entry = 0 if type_ != 2 else 24 if bits == 64 else 16
            form = "IIQQQQIIQQ" if bits == 64 else "IIIIIIIIII"
            headers.append(
                struct.pack(order + form, at, type_, flags, address, offset, len(contents), link, 0, 1, entry)
            )
        shoff = len(body)
        body += b"".join(headers)
        wide = bits == 64
        head_size, ph_size, sh_size = (64, 56, 64) if wide else (52, 32, 40)
        ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
        form = "HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"
        count = len(table)
        header = ident + struct.pack(
            order + form, kind, machine, 1, base, head_size, shoff, 0, head_size, ph_size, 1, sh_size, count, count - 1
        )
        if wide:
            load = struct.pack(order + "IIQQQQQQ", 1, 5, 0x1000, base, base, 0x1000, 0x1000, 0x1000)
        else:
            load = struct.pack(order + "IIIIIIII", 1, 0x1000, base, base, 0x1000, 0x1000, 5, 0x1000)
        body[: len(header) + len(load)] = header + load
        return bytes(body)

    def file(self, path, *arguments, **options):
        """The same, written to a file."""
        path.write_bytes(self(*arguments, **options))
        return str(path)


@pytest.fixture(scope="session")
def elf():
    return ElfMaker()
