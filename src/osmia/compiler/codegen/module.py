"""Lowers a module: maps, globals, external symbols, prototypes, functions and debug information, as LLVM text."""

from __future__ import annotations

from osmia.compiler.codegen.core import KernelTypes
from osmia.compiler.codegen.debug import Metadata, c_name, escape
from osmia.compiler.codegen.function import FunctionLowering, llvm_type
from osmia.compiler.codegen.lower.control import returns
from osmia.compiler.codegen.lower.kernel import text_constant
from osmia.compiler.codegen.maps import MapWriter
from osmia.compiler.ir import VOID, Ptr, Value
from osmia.diagnostics import CompileError
from osmia.object.layout import Bool, Int

TYPE_CHECKING = False
if TYPE_CHECKING:
    from osmia.compiler.codegen.target import Target
    from osmia.compiler.ir import Function, Global, Module, Op, ValueType
    from osmia.diagnostics import Span

_HEADER = """target datalayout = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
target triple = "bpfel"
"""
_ATTRIBUTES = (
    'nounwind null_pointer_is_valid "no-builtins" "no-jump-tables"="true" "frame-pointer"="all" '
    '"no-trapping-math"="true"'
)


class ModuleLowering:
    """The state while a module is lowered."""

    def __init__(self, module: Module, target: Target) -> None:
        self.module = module
        self.target = target
        self.functions = module.functions
        self.globals = module.globals
        self.metadata = Metadata()
        self.kernel_types = KernelTypes(self.metadata)
        self.declarations: dict[str, None] = {}
        self._externals: dict[str, str] = {}
        self._debug_globals: list[str] = []
        self._constants: dict[str, str] = {}
        self._used: list[str] = []
        self._sequence = 0
        self._unit = ""
        self._file = ""
        self._subprograms: dict[str, tuple[str, str]] = {}
        self._locations: dict[tuple[str, int, int, str], str] = {}
        self._helper_numbers: dict[str, int] = {}
        self._kconfig: dict[str, ValueType] = {}

    def text(self) -> str:
        """The whole module."""
        file_name = next((f.span.file for f in self.functions.values() if f.span.file), self.module.name)
        self._file = self.metadata.file(file_name)
        self._unit = self.metadata.reserve()
        bodies: list[str] = []
        for function in self.functions.values():
            bodies.append("")
            bodies.extend(FunctionLowering(self, function).lower())
        data = self._data()
        maps = MapWriter(self).lines()
        license_ = self.module.license
        types = self.kernel_types.finish()
        self.metadata.fill(
            self._unit,
            f'distinct !DICompileUnit(language: DW_LANG_C99, file: {self._file}, producer: "osmia", '
            "isOptimized: true, runtimeVersion: 0, emissionKind: DebugDirectivesOnly, "
            f"globals: {self.metadata.listed(self._debug_globals)})",
        )
        flags = self.metadata.add('!{i32 2, !"Debug Info Version", i32 3}')
        lines = [_HEADER, *types, *maps, *data, *self._constants_text()]
        lines.append(f'@_license = dso_local global [{len(license_.encode()) + 1} x i8] {text_constant(license_)}, '
                     'section "license"')  # fmt: skip
        if self._used:
            entries = ", ".join(f"ptr {name}" for name in self._used)
            lines.append(
                f'@llvm.compiler.used = appending global [{len(self._used)} x ptr] [{entries}], section "llvm.metadata"'
            )
        lines += self._externals.values()
        lines += bodies
        lines += ["", *self.declarations, "", f"attributes #0 = {{ {_ATTRIBUTES} }}"]
        lines.append("attributes #1 = { nounwind willreturn memory(none) }")
        lines += [f"!llvm.dbg.cu = !{{{self._unit}}}", f"!llvm.module.flags = !{{{flags}}}", self.metadata.text(), ""]
        return "\n".join(lines)

    # Symbols

    def function_symbol(self, name: str) -> str:
        """The LLVM name of a function."""
        return f'@"{escape(name)}"'

    def map_symbol(self, name: str) -> str:
        """The LLVM name of a map."""
        return f'@"{escape(name)}"'

    def helper_number(self, name: str) -> int:
        """The number of a helper."""
        number = self._helper_numbers.get(name)
        if number is None:
            from osmia.abi.helpers import number as number_of

            number = self._helper_numbers[name] = number_of(name)
        return number

    def sequence(self) -> int:
        """A number that no other intrinsic of the module has."""
        self._sequence += 1
        return self._sequence

    def constant(self, text: str) -> str:
        """The address of a string constant."""
        name = self._constants.get(text)
        if name is None:
            name = self._constants[text] = f"@.text.{len(self._constants)}"
        return name

    def _constants_text(self) -> list[str]:
        return [
            f"{name} = internal constant [{len(text.encode('utf-8', 'surrogateescape')) + 1} x i8] "
            f'{text_constant(text)}, section ".rodata", align 1'
            for text, name in self._constants.items()
        ]

    def debug_variable(self, name: str, type_node: str, *, local: bool = False, defined: bool = True) -> str:
        """The debug record of a global variable."""
        variable = self.metadata.distinct(
            f'distinct !DIGlobalVariable(name: "{escape(name)}", scope: {self._unit}, file: {self._file}, line: 0, '
            f"type: {type_node}, isLocal: {'true' if local else 'false'}, "
            f"isDefinition: {'true' if defined else 'false'})"
        )
        empty = self.metadata.add("!DIExpression()")
        node = self.metadata.add(f"!DIGlobalVariableExpression(var: {variable}, expr: {empty})")
        self._debug_globals.append(node)
        return node

    def use(self, symbol: str) -> None:
        """Keeps a global that no code refers to."""
        self._used.append(symbol)

    def _data(self) -> list[str]:
        return [self._global(variable) for variable in self.globals.values()]

    def _global(self, variable: Global) -> str:
        node = self.debug_variable(variable.name, self.metadata.layout(variable.layout))
        size = variable.layout.size
        constant = variable.section.startswith(".rodata")
        zero = not any(variable.init)
        init = "zeroinitializer" if zero else 'c"' + "".join(f"\\{byte:02X}" for byte in variable.init) + '"'
        word = "externally_initialized constant" if constant else "global"
        symbol = f'@"{escape(variable.name)}"'
        self.use(symbol)
        return (
            f'{symbol} = dso_local {word} [{size} x i8] {init}, section "{escape(variable.section)}", '
            f"align 8, !dbg {node}"
        )

    # External symbols

    def external_symbol(self, name: str, pointer: Ptr | None, weak: bool) -> str:
        """A kernel variable; typed when the pointer says of what type."""
        symbol = f'@"{escape(name)}"'
        if symbol not in self._externals:
            if pointer is None:
                type_ = self.metadata.add("!DIDerivedType(tag: DW_TAG_const_type, baseType: null)")
            else:
                type_ = self.metadata.value(pointer.to)
            node = self.debug_variable(name, type_, defined=False)
            linkage = "extern_weak" if weak else "external"
            self._externals[symbol] = (
                f'{symbol} = {linkage} dso_local constant i8, section ".ksyms", align 8, !dbg {node}'
            )
        return symbol

    def kconfig_symbol(self, name: str, type_: ValueType, span: Span) -> str:
        """A value of the kernel's configuration."""
        symbol = f'@"{escape(name)}"'
        known = self._kconfig.setdefault(name, type_)
        if known != type_:
            raise CompileError("IR022", f"{name} is used as {known} and as {type_}", span=span)
        if symbol not in self._externals:
            if not isinstance(type_, (Int, Bool)):
                raise CompileError("IR004", f"a configuration value is no {type_}", span=span)
            node = self.debug_variable(name, self.metadata.layout(type_), defined=False)
            self._externals[symbol] = (
                f"{symbol} = external dso_local externally_initialized constant i{type_.size * 8}, "
                f'section ".kconfig", align {type_.size}, !dbg {node}'
            )
        return symbol

    def kernel_function(self, op: Op) -> str:
        """A kernel function, declared with the types of its first use."""
        symbol = f'@"{escape(op.attrs["name"])}"'
        types = [value.type for value in op.args]
        result = VOID if op.result is None or op.name == "kfunc.exists" else op.result.type
        declared = self._externals.get(symbol)
        if declared is None or (op.name == "kfunc" and declared.startswith("; exists")):
            weak = bool(op.attrs.get("weak")) or op.name == "kfunc.exists" or declared is not None
            parameters = self.metadata.listed([self.metadata.value(result), *(self.metadata.value(t) for t in types)])
            type_ = self.metadata.add(f"!DISubroutineType(types: {parameters})")
            nodes = self.metadata.listed([])
            subprogram = self.metadata.add(
                f'!DISubprogram(name: "{escape(op.attrs["name"])}", scope: {self._file}, file: {self._file}, line: 0, '
                f"type: {type_}, flags: DIFlagPrototyped, spFlags: DISPFlagOptimized, retainedNodes: {nodes})"
            )
            returned = "void" if result is VOID else llvm_type(result)
            given = ", ".join(llvm_type(t) for t in types)
            linkage = "extern_weak " if weak else ""
            comment = "; exists\n" if op.name == "kfunc.exists" else ""
            self._externals[symbol] = (
                f'{comment}declare !dbg {subprogram} {linkage}dso_local {returned} {symbol}({given}) section ".ksyms"'
            )
        return symbol

    # Functions

    def parameters(self, function: Function) -> list[tuple[str, str, Value]]:
        """LLVM type, attributes and value of each parameter."""
        rows = []
        for parameter in function.params:
            type_, note = llvm_type(parameter.type), ""
            if isinstance(parameter.type, (Int, Bool)):
                if function.kind == "callback":
                    type_ = "i64"
                elif function.kind == "global" and type_ == "i1":
                    type_, note = "i8", " zeroext"
                elif isinstance(parameter.type, Bool) or parameter.type.bits < 64:
                    signed = isinstance(parameter.type, Int) and parameter.type.signed
                    note = " signext" if signed else " zeroext"
            rows.append((type_, note, parameter))
        return rows

    def return_note(self, function: Function) -> str:
        """Attributes of a function's result."""
        type_ = function.result
        if function.kind in ("program", "callback") or not isinstance(type_, (Int, Bool)):
            return ""
        llvm = returns(function.kind, type_)
        if llvm == "i64":
            return ""
        return "signext " if isinstance(type_, Int) and type_.signed else "zeroext "

    def function_head(self, function: Function, parameters: str, scope: str) -> str:
        """The first line of a definition."""
        attributes = "#0"
        linkage, section = "internal ", ""
        if function.kind == "program":
            linkage = ""
            section = f' section "{escape(function.section)}"'
        elif function.kind == "global":
            linkage = ""
        attributes += " alwaysinline" if function.kind == "inline" else " noinline"
        returned = returns(function.kind, function.result)
        if function.kind == "callback":
            section = ' section ".text"'
        return (
            f"define dso_local {linkage}{self.return_note(function)}{returned} {self.function_symbol(function.name)}"
            f"({parameters}) {attributes}{section} !dbg {scope} {{"
        ).replace("define dso_local internal", "define internal")

    def subprogram(self, function: Function) -> tuple[str, str]:
        """The debug record of a function and the note for instructions without a place of their own."""
        found = self._subprograms.get(function.name)
        if found is None:
            metadata = self.metadata
            file = metadata.file(function.span.file) if function.span.file else self._file
            result = metadata.value(self._returned(function))
            types = metadata.listed([result, *(metadata.value(p.type) for p in function.params)])
            type_ = metadata.add(f"!DISubroutineType(types: {types})")
            node = metadata.reserve()
            arguments = [
                metadata.distinct(
                    f'!DILocalVariable(name: "{c_name(p.name) or "arg"}", arg: {index}, scope: {node}, file: {file}, '
                    f"type: {metadata.value(p.type)})"
                )
                for index, p in enumerate(function.params, 1)
            ]
            kind = "" if function.kind in ("program", "global") else "DISPFlagLocalToUnit | "
            metadata.fill(
                node,
                f'distinct !DISubprogram(name: "{escape(function.name)}", scope: {file}, file: {file}, '
                f"line: {function.span.line}, type: {type_}, scopeLine: {function.span.line}, flags: DIFlagPrototyped, "
                f"spFlags: {kind}DISPFlagDefinition | DISPFlagOptimized, unit: {self._unit}, "
                f"retainedNodes: {metadata.listed(arguments)})",
            )
            place = metadata.location(function.span, node, function.span.file)
            found = self._subprograms[function.name] = (node, f", !dbg {place}")
        return found

    def _returned(self, function: Function) -> ValueType:
        if function.kind in {"inline", "static"}:
            return function.result
        signed = isinstance(function.result, Int) and function.result.signed
        llvm = returns(function.kind, function.result)
        if llvm in ("ptr", "void"):
            return function.result
        return Int(int(llvm[1:]), signed or not isinstance(function.result, Int))

    def debug_note(self, span: Span, scope: str, function: Function) -> str:
        """The note that gives an instruction its place."""
        key = (scope, span.line, span.column, span.file)
        note = self._locations.get(key)
        if note is None:
            note = f", !dbg {self.metadata.location(span, scope, function.span.file)}"
            self._locations[key] = note
        return note
