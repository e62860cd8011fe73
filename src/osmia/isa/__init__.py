"""The BPF instruction set: RFC 9669 and the kernel's extensions, as one table.

``table`` has a row per instruction; ``instruction`` decodes and encodes; ``check`` says what is well-formed;
``assembler``, ``mnemonics`` and ``disassembler`` translate to and from text; ``effects`` tells what instructions read,
write and need; ``reference`` prints the table; ``cbpf`` is the classic machine and its translation. Import from these
modules: this package itself loads nothing.
"""
