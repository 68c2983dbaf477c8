"""What the folder of a run tells of it, in words for a model card."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from echoic.recipes.run_folder import CONFIG_FILE, METRICS_FILE, RECORD_FILE, Found, read_lines

_ENVIRONMENT = ("torch", "lightning", "python", "system", "cuda:0")


def story(found: Found, step: int | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return rows of a card's table, and sections by title.

    Paths are told without the folders of the machine that they lead through.

    Args:
        found: the run; an older one without a record tells less.
        step: of the weights; the figures are of the last validation before it.
    """
    record = read_lines(found.folder / RECORD_FILE)
    starts = [line for line in record if line.get("event") == "start"]
    rows = {"steps": "" if step is None else f"{step:,}"}
    if starts:
        first = starts[0]
        recipes = ", ".join(f"`{short(path)}`" for path in first.get("recipes") or {})
        rows |= {"recipe": recipes, "revision": _revision(first.get("echoic") or {})}
        environment: Mapping[str, str] = first.get("environment") or {}
        told = [
            f"{n} {environment[n].partition(' (')[0]}" for n in _ENVIRONMENT if n in environment
        ]
        processes = first.get("processes", 1)
        rows["trained with"] = ", ".join(told) + (f"; {processes} processes" * (processes > 1))
        rows["trained on"] = str(first.get("time", "")).partition("T")[0]
    commands = [" ".join(_word(w) for w in line.get("command") or ()) for line in starts]
    sections = {
        "Data": "\n".join(f"- {line}" for line in _data(found.folder / CONFIG_FILE)),
        "Training": "```sh\n" + "\n".join(commands) + "\n```" if commands else "",
        "Measured in training": _figures(found.folder / METRICS_FILE, step),
    }
    return rows, sections


def short(path: str | Path) -> str:
    """Return a path as it is if it is relative, else its last two parts."""
    path = Path(path)
    return "/".join(path.parts[-2:]) if path.is_absolute() else path.as_posix()


def _word(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and name.startswith("--"):
        return f"{name}={_word(value)}"
    return shlex.quote(short(word)) if Path(word).is_absolute() else shlex.quote(word)


def _revision(echoic: Mapping[str, Any]) -> str:
    commit = echoic.get("commit")
    told = f"echoic {echoic.get('version', '')}"
    if commit is None:
        return told
    return f"{told}, commit `{commit[:12]}`" + (", with changes" if echoic.get("dirty") else "")


def _data(config: Path) -> list[str]:
    """Return a line for each source that the run learned from."""
    if not config.is_file():
        return []
    import yaml

    try:
        sources = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["init_args"]["train"]
        return [_source(dict(source)) for source in sources]
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        return []  # a recipe of another shape, which its file tells


def _source(values: dict[str, Any]) -> str:
    path = short(str(values.get("path") or values.get("manifest")))
    more = [f"{name} {values[name]}" for name in ("split", "lang") if values.get(name)]
    if values.get("share", 1.0) != 1.0:
        more.append(f"share {values['share']:g}")
    return f"`{path}`" + (f" ({', '.join(more)})" if more else "")


def _figures(path: Path, step: int | None) -> str:
    """Return a table of the last validation before a step, which is logged a step or so later."""
    best: dict[str, float] = {}
    for line in read_lines(path):
        at = line.get("step")
        found = {k: v for k, v in line.items() if k.startswith("val/") and v is not None}
        if found and (step is None or at is None or at <= step):
            best |= found
    if not best:
        return ""
    return "\n".join(
        ["| | |", "| --- | --- |", *(f"| {name} | {value:.4g} |" for name, value in best.items())]
    )
