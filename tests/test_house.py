"""The laws that hold the house together: who may import whom, and what every file looks like."""

import doctest
import graphlib
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import FOLDERS, ROOT, imports_of, module_files, package_folders

BELOW_MODELS = {"cuda_ext", "audio", "streaming"}
MAY_IMPORT = {
    "cuda_ext": set(),
    "audio": {"cuda_ext"},
    "streaming": {"cuda_ext", "audio"},
    "codecs": BELOW_MODELS,
    "asr": BELOW_MODELS,
    "tts": {*BELOW_MODELS, "codecs"},
    "recipes": {*BELOW_MODELS, "codecs", "asr", "tts"},
    "demo": {*BELOW_MODELS, "codecs", "asr", "tts"},
}
MAX_LINES = 400
# Character classes, so that this file does not hold the words itself.
PRIVATE = re.compile(r"/wor[k]/|\bfar[m]\b|\.\./share[d]|/hom[e]/\w|/roo[t]/|/tm[p]/\w", re.I)
UNFINISHED = re.compile(r"\b(TOD[O]|FIXM[E]|XX[X])\b|NotImplementedErro[r]\(\)")
PYTHON_FILES = sorted(
    {*module_files().values(), *(ROOT / "tests").rglob("*.py")}, key=lambda p: str(p)
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def forbidden(name: str, path: Path) -> list[str]:
    """What a module imports from folders that its own may not know."""
    own = name.split(".")[1]
    if path.name == "cli.py":  # puts the pieces together, and nobody imports it but the table
        return []
    return [
        f"{name}, line {line}, imports {module}"
        for module, line, _ in imports_of(path)
        if module.split(".")[1:2] not in ([own], *([f] for f in MAY_IMPORT[own]))
    ]


def test_arrow_of_dependence():
    assert set(MAY_IMPORT) == set(FOLDERS)
    assert [line for n, p in module_files().items() for line in forbidden(n, p)] == []


def test_only_the_table_of_verbs_knows_the_command_lines():
    users = {
        (relative(path), module)
        for path in module_files().values()
        for module, _, _ in imports_of(path)
        if module.endswith(".cli")
    }
    assert users == {
        ("recipes/cli.py", "echoic.asr.cli"),
        ("recipes/cli.py", "echoic.codecs.cli"),
        ("recipes/cli.py", "echoic.cuda_ext.cli"),
        ("recipes/cli.py", "echoic.demo.cli"),
        ("recipes/cli.py", "echoic.recipes.data.cli"),
        ("recipes/cli.py", "echoic.recipes.prepare.cli"),
        ("recipes/cli.py", "echoic.streaming.cli"),
        ("recipes/cli.py", "echoic.tts.cli"),
    }


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("audio", "from echoic.asr.transcript import Word"),
        ("streaming", "def f():\n    import echoic.asr.transcriber"),
        ("asr", "from echoic.recipes import env"),
        ("audio", "import echoic"),
        ("asr", 'MODULE = "echoic.recipes.env"'),
    ],
)
def test_the_arrow_sees_every_kind_of_import(own: str, line: str, tmp_path: Path):
    path = tmp_path / "module.py"
    path.write_text(line)
    assert forbidden(f"echoic.{own}.module", path)


def test_modules_import_each_other_in_an_order():
    graph: dict[str, set[str]] = {}
    for name, path in module_files().items():
        own = {name, *_parents(name)}
        graph[name] = {
            wanted
            for module, _, eager in imports_of(path)
            if eager
            for wanted in (module, *_parents(module))
            if wanted not in own
        }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert order.index("echoic.audio.io") < order.index("echoic.asr.transcriber")


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(2, len(parts))]


@pytest.mark.parametrize("name", sorted(module_files()))
def test_imports_and_shows_what_its_docstring_promises(name: str):
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).samefile(module_files()[name])
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("path", PYTHON_FILES, ids=relative)
def test_is_short_and_finished(path: Path):
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) <= MAX_LINES, f"{len(lines)} lines: split it by subject"
    assert [line for line in lines if UNFINISHED.search(line)] == []


def test_no_file_names_a_folder_of_one_machine():
    suffixes = {".py", ".md", ".toml", ".sh", ".yaml", ".jsonl", ""}
    files = [ROOT / "pyproject.toml", ROOT / ".ci" / "run", *ROOT.glob("*.md")]
    for folder in (*FOLDERS, "tests"):
        files += [p for p in (ROOT / folder).rglob("*") if p.is_file() and p.suffix in suffixes]
    assert len(files) > 100
    found = [
        f"{relative(path)}: {line}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if PRIVATE.search(line)
    ]
    assert found == []


def test_packages_import_from_anywhere(tmp_path: Path):
    names = sorted(package_folders())
    code = f"import {', '.join(names)}\nprint(echoic.asr.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()).samefile(ROOT / "asr" / "__init__.py")


def test_codecs_is_the_standard_librarys_in_the_root():
    code = "import codecs, os; print(codecs.__file__); codecs.lookup('utf-8')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = Path(done.stdout.strip())
    assert found.name == "codecs.py"
    assert not found.is_relative_to(ROOT)
