"""LLVM through llvmlite's library: text in, object bytes out.

The library is called directly: importing ``llvmlite.binding`` costs several times as much as loading the library.
Only the few functions used here are declared; they are the same in the llvmlite releases listed in ``KNOWN``.
"""

from __future__ import annotations

import _thread
import ctypes
import os
import sys

from osmia.compiler.codegen.target import Target
from osmia.diagnostics import CompileError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KNOWN = (20, 22)
"""Major versions of LLVM that the tests were run with (llvmlite 0.46 to 0.50): they have the options below."""

OPTIONS = (
    # The stack is measured afterwards, over call chains as the kernel counts, and refused with a place in the source.
    b"-bpf-stack-size=65536",
    # Rewrites loop bounds into forms ("!=" on a computed end) that the verifier cannot follow.
    b"-disable-lftr",
    # Closed forms of loops multiply in 128 bits, which BPF cannot.
    b"-replexitval=never",
    # Loops that look like memset, memcpy, population counts or checksums stay loops.
    b"-disable-loop-idiom-all",
)

_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "GetVersionInfo": (ctypes.c_uint, ()),
    "InitializeAllTargetInfos": (None, ()),
    "InitializeAllTargets": (None, ()),
    "InitializeAllTargetMCs": (None, ()),
    "InitializeAllAsmPrinters": (None, ()),
    "SetCommandLine": (None, (ctypes.c_char_p, ctypes.c_char_p)),
    "ContextCreate": (ctypes.c_void_p, ()),
    "ContextDispose": (None, (ctypes.c_void_p,)),
    "ParseAssembly": (ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)),
    "DisposeModule": (None, (ctypes.c_void_p,)),
    "VerifyModule": (ctypes.c_bool, (ctypes.c_void_p, ctypes.c_void_p)),
    "DisposeString": (None, (ctypes.c_void_p,)),
    "PrintModuleToString": (None, (ctypes.c_void_p, ctypes.c_void_p)),
    "GetTargetFromTriple": (ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_void_p)),
    "CreateTargetMachine": (
        ctypes.c_void_p,
        (ctypes.c_void_p, *[ctypes.c_char_p] * 3, ctypes.c_int, *[ctypes.c_char_p] * 2, *[ctypes.c_int] * 2,
         ctypes.c_char_p),
    ),
    "DisposeTargetMachine": (None, (ctypes.c_void_p,)),
    "CreatePipelineTuningOptions": (ctypes.c_void_p, ()),
    "DisposePipelineTuningOptions": (None, (ctypes.c_void_p,)),
    "PTOSetLoopVectorization": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "PTOSetSLPVectorization": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "PTOSetLoopInterleaving": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "PTOSetLoopUnrolling": (None, (ctypes.c_void_p, ctypes.c_bool)),
    "CreatePassBuilder": (ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_void_p)),
    "DisposePassBuilder": (None, (ctypes.c_void_p,)),
    "buildPerModuleDefaultPipeline": (ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)),
    "RunNewModulePassManager": (None, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)),
    "DisposeNewModulePassManger": (None, (ctypes.c_void_p,)),
    "TargetMachineEmitToMemory": (
        ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p),
    ),
    "GetBufferStart": (ctypes.c_void_p, (ctypes.c_void_p,)),
    "GetBufferSize": (ctypes.c_size_t, (ctypes.c_void_p,)),
    "DisposeMemoryBuffer": (None, (ctypes.c_void_p,)),
}  # fmt: skip


class Llvm:
    """The loaded library."""

    def __init__(self) -> None:
        # llvmlite.binding, when the program has it already, must go on seeing the same library: dlopen gives the
        # same handle for the same file.
        library = ctypes.CDLL(_library_path())
        self._calls: dict[str, Any] = {}
        self._lock = _thread.allocate_lock()
        for name, (result, arguments) in _FUNCTIONS.items():
            try:
                # A function object of our own: the types set here are not seen by llvmlite.
                function = library[f"LLVMPY_{name}"]
            except AttributeError as error:
                raise _unusable(f"it has no {name}") from error
            function.restype = result
            function.argtypes = arguments
            self._calls[name] = function
        version = self.call("GetVersionInfo") >> 16
        if version not in KNOWN:
            raise _unusable(f"it has LLVM {version}; known are {', '.join(map(str, KNOWN))}")
        self.version = version
        for name in ("InitializeAllTargetInfos", "InitializeAllTargets", "InitializeAllTargetMCs"):
            self.call(name)
        self.call("InitializeAllAsmPrinters")
        for option in OPTIONS:
            self.call("SetCommandLine", b"", option)
        self._target = self._with_text("GetTargetFromTriple", b"bpfel")
        self._machines: dict[str, int] = {}

    def call(self, name: str, *arguments: Any) -> Any:
        """Calls a function of the library."""
        return self._calls[name](*arguments)

    def _with_text(self, name: str, *arguments: Any) -> Any:
        """Calls a function whose last argument receives an error text; raises it."""
        text = ctypes.c_char_p()
        result = self._calls[name](*arguments, ctypes.byref(text))
        if text.value:
            message = text.value.decode("utf-8", "replace")
            self.call("DisposeString", text)
            raise CompileError(
                "IR099", "LLVM refused the generated code", details=message,
                hint="this is an error in Osmia; please report it with the program",
            )  # fmt: skip
        return result

    def machine(self, target: Target) -> int:
        """The target machine of a profile."""
        found = self._machines.get(target.cpu)
        if found is None:
            arguments = (b"bpfel", target.cpu.encode(), b"", 2, b"default", b"default", 0, 0, b"")
            found = self._machines[target.cpu] = self.call("CreateTargetMachine", self._target, *arguments)
        return found

    def compile(self, text: str, target: Target, keep_text: bool = False) -> tuple[bytes, str]:
        """Object bytes of a module's text, and the optimised text when asked for.

        :raises CompileError: IR099 when LLVM finds the text malformed.
        """
        with self._lock:
            context = self.call("ContextCreate")
            try:
                return self._compile(context, text.encode("utf-8", "surrogateescape"), target, keep_text)
            finally:
                self.call("ContextDispose", context)

    def _compile(self, context: int, text: bytes, target: Target, keep_text: bool) -> tuple[bytes, str]:
        module = self._with_text("ParseAssembly", context, text)
        machine = self.machine(target)
        options = self.call("CreatePipelineTuningOptions")
        builder = manager = None
        try:
            self._with_text("VerifyModule", module)
            for name in ("LoopVectorization", "SLPVectorization", "LoopInterleaving"):
                self.call(f"PTOSet{name}", options, False)
            builder = self.call("CreatePassBuilder", machine, options)
            manager = self.call("buildPerModuleDefaultPipeline", builder, 2, 0)
            self.call("RunNewModulePassManager", manager, module, builder)
            optimised = self._print(module) if keep_text else ""
            return self._emit(machine, module), optimised
        finally:
            if manager is not None:
                self.call("DisposeNewModulePassManger", manager)
            if builder is not None:
                self.call("DisposePassBuilder", builder)
            self.call("DisposePipelineTuningOptions", options)
            self.call("DisposeModule", module)

    def _emit(self, machine: int, module: int) -> bytes:
        buffer = self._with_text("TargetMachineEmitToMemory", machine, module, 1)
        try:
            return ctypes.string_at(self.call("GetBufferStart", buffer), self.call("GetBufferSize", buffer))
        finally:
            self.call("DisposeMemoryBuffer", buffer)

    def _print(self, module: int) -> str:
        text = ctypes.c_char_p()
        self.call("PrintModuleToString", module, ctypes.byref(text))
        value = (text.value or b"").decode("utf-8", "replace")
        self.call("DisposeString", text)
        return value


def _unusable(why: str) -> CompileError:
    return CompileError(
        "IR090", f"llvmlite cannot be used: {why}", hint="install a known llvmlite: pip install 'llvmlite>=0.46,<0.51'"
    )


def _library_path() -> str:
    """The file of llvmlite's library, found without importing llvmlite."""
    import importlib.util

    name = {"darwin": "libllvmlite.dylib", "win32": "llvmlite.dll"}.get(sys.platform, "libllvmlite.so")
    found = importlib.util.find_spec("llvmlite")
    for folder in (found.submodule_search_locations or ()) if found is not None else ():
        path = os.path.join(folder, "binding", name)
        if os.path.exists(path):
            return path
    raise _unusable("it is not installed")


_llvm: Llvm | None = None


def llvm() -> Llvm:
    """The library, loaded once."""
    global _llvm
    if _llvm is None:
        _llvm = Llvm()
    return _llvm
