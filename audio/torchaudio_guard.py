"""Let `torchaudio` be imported beside a torch that has no CUDA.

The registry's torchaudio 2.11 wheel is linked to CUDA's libraries and loads them unconditionally,
so `import torchaudio` raises OSError on a CPU build of torch, and takes `transformers` and `peft`
down with it, since both import torchaudio when it is installed. `install` puts a finder in front
of the import system that replaces only `torchaudio._extension`, and only when the native library
cannot be loaded; nothing is imported, and nothing on disk is touched, until somebody asks for it.
"""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

_NAME = "torchaudio._extension"


class _GuardedLoader(importlib.abc.Loader):
    """Runs the real module first and falls back to a stand-in that says what is missing."""

    def __init__(self, real: importlib.abc.Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        try:
            self._real.exec_module(module)
        except OSError as error:
            _fill_stand_in(module, error)


class _GuardFinder(importlib.abc.MetaPathFinder):
    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != _NAME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _GuardedLoader(spec.loader)
        return spec


def _fill_stand_in(module: ModuleType, cause: OSError) -> None:
    def fail_if_no_align(func: object) -> object:
        def unavailable(*_args: object, **_kwargs: object) -> None:
            raise RuntimeError(
                "torchaudio's native functions are not available: its wheel is linked to CUDA and "
                "this torch is a CPU build; install torchaudio from the PyTorch CPU index"
            ) from cause

        return unavailable

    module._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    module._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    module._IS_RIR_AVAILABLE = False  # type: ignore[attr-defined]
    module.fail_if_no_align = fail_if_no_align  # type: ignore[attr-defined]
    module._load_lib = lambda _lib: False  # type: ignore[attr-defined]
    module.echoic_stand_in_for = cause  # type: ignore[attr-defined]


def install() -> None:
    """Install the guard once; a no-op where it stands already."""
    if not any(isinstance(finder, _GuardFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _GuardFinder())


def missing_library() -> str | None:
    """Return why torchaudio runs without its native library, or None when it does not."""
    module = sys.modules.get(_NAME)
    cause = getattr(module, "echoic_stand_in_for", None)
    return None if cause is None else str(cause)
