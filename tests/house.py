"""The source tree as tests see it: its folders, modules and what they import."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FOLDERS = ("cuda_ext", "audio", "streaming", "codecs", "asr", "tts", "recipes", "demo")


class Import(NamedTuple):
    """A module of ours that another one names; `eager` when it runs while that one is imported."""

    module: str
    line: int
    eager: bool


@cache
def module_files() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    files = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            files[".".join(("echoic", *parts)).removesuffix(".__init__")] = path
    return files


def package_folders() -> dict[str, Path]:
    """Every package of the product, by its dotted name."""
    return {name: p.parent for name, p in module_files().items() if p.name == "__init__.py"}


def imports_of(path: Path) -> list[Import]:
    """The modules of ours that a file imports, at once or later."""
    return list(_imports(ast.parse(path.read_text(encoding="utf-8")), eager=True))


def _imports(node: ast.AST, *, eager: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            names = _names(child)
            yield from (Import(name, child.lineno, eager) for name in names if _is_ours(name))
        elif isinstance(child, ast.Constant) and isinstance(child.value, str):
            if child.value in module_files():  # a table of lazy imports
                yield Import(child.value, child.lineno, eager=False)
        else:
            now = eager and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            yield from _imports(child, eager=now and not _is_for_type_checkers(child))


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level:
        raise ValueError(f"line {node.lineno} has a relative import")
    base = node.module or ""
    inner = [f"{base}.{alias.name}" for alias in node.names]
    return [base, *(name for name in inner if name in module_files())]


def _is_ours(name: str) -> bool:
    return name == "echoic" or name.startswith("echoic.")


def _is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
