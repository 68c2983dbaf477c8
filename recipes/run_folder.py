"""The folder of a training run: what its files are called, and where its checkpoints are.

A recipe's `default_root_dir` holds a folder for each start, `lightning_logs/version_N`, with
`config.yaml`, `run.jsonl`, `metrics.jsonl`, TensorBoard's events and `checkpoints/`. Where a recipe
names a `dirpath`, checkpoints lie there; without a logger everything lies in the root itself.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

CONFIG_FILE, RECORD_FILE, METRICS_FILE = "config.yaml", "run.jsonl", "metrics.jsonl"
LOGS = "lightning_logs"

_VERSION = re.compile(r"version_(\d+)")
# Lightning's own pattern: a second one that is called so becomes last-v1.
_LAST = re.compile(r"last(-v\d+)?")


class Found(NamedTuple):
    """A run: the folder of its record, and its checkpoints, the newest first."""

    folder: Path
    checkpoints: list[Path]

    @property
    def last(self) -> Path:
        """The newest checkpoint that is called last; if none is, the newest of all."""
        return next((p for p in self.checkpoints if _LAST.fullmatch(p.stem)), self.checkpoints[0])


def find_run(path: Path) -> Found:
    """Find a run.

    Args:
        path: its folder, or the folder above, which stands for its newest run with a checkpoint, or
            a checkpoint.

    Raises:
        FileNotFoundError: nothing there, or no checkpoint in it.
    """
    if path.is_file():
        above = (p for p in list(path.parents)[:3] if _tells(p))
        return Found(next(above, path.parent), [path])
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such run; give a folder that `echoic train` wrote")
    versions = [path] if _VERSION.fullmatch(path.name) else list(versions_of(path))
    for folder in versions:
        found = _newest(folder.rglob("*.ckpt"))
        if found:
            return Found(folder, found)
    # A `dirpath` of the recipe, or no logger: the checkpoints lie in the root.
    found = _newest(p for p in path.rglob("*.ckpt") if LOGS not in p.parts[len(path.parts) :])
    if not found:
        raise FileNotFoundError(f"{path} holds no checkpoint (.ckpt); train the run further")
    folder = path if _tells(path) or not versions else versions[0]
    return Found(folder, found)


def find_last(root: Path, dirpaths: Sequence[Path] = ()) -> Found | None:
    """Find what `--ckpt_path last` goes on from; None where there is nothing yet.

    Args:
        root: the recipe's `default_root_dir`.
        dirpaths: of its callbacks that write checkpoints, where they have one.
    """
    versions = list(versions_of(root))
    lasts = [(folder, _lasts(folder / "checkpoints")) for folder in versions]
    placed = [p for path in (*dirpaths, root / "checkpoints") for p in _lasts(path)]
    newest = versions[0] if versions else root
    for folder, found in [(newest, _newest(placed)), *lasts]:
        if found:
            return Found(folder, found)
    return None


def versions_of(root: Path) -> Iterator[Path]:
    """Yield the folders of the runs of a recipe, the newest first."""
    numbered = []
    for path in (root / LOGS).glob("version_*"):
        match = _VERSION.fullmatch(path.name)
        if match is not None and path.is_dir():
            numbered.append((int(match[1]), path))
    for _, path in sorted(numbered, reverse=True):
        yield path


def append_line(path: Path, values: dict[str, Any]) -> None:
    """Add a line of JSON to a file, opened and closed for it: a killed run loses none."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(values, ensure_ascii=False, default=str) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return what `append_line` wrote, but for a line that was cut off; [] without a file."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            found.append(values)
    return found


def _tells(folder: Path) -> bool:
    return (folder / CONFIG_FILE).is_file()


def _lasts(folder: Path) -> list[Path]:
    return _newest(p for p in folder.glob("last*.ckpt") if _LAST.fullmatch(p.stem))


def _newest(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
