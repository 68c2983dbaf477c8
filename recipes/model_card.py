"""Model cards: README.md with the front matter that hubs read, a table and sections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import ModelCardData

CARD_FILE = "README.md"
#: What hubs know a model by whose licence nobody told.
UNKNOWN_LICENSE = "unknown"


class About(NamedTuple):
    """What a family of models tells of one that it has written.

    Attributes:
        what: a line.
        rows: of the card's table, by name.
        use: a command or a line of Python that uses the folder, called DIR in it.
        tags: for hubs.
        pipeline: the task, by the hubs' name.
        metrics: what it is measured by, by the hubs' names.
        library: what loads it, by the hubs' name.
        language: code, if it is known.
        base: id of the model that it adapts.
    """

    what: str
    rows: Mapping[str, str]
    use: str
    tags: Sequence[str]
    pipeline: str
    metrics: Sequence[str] = ()
    library: str = "echoic"
    language: str | None = None
    base: str | None = None


class Options(NamedTuple):
    """How to store the model of a run.

    Attributes:
        precision: of the weights in the file.
        averaged: take the running mean of the weights, where the run keeps one; else those of the
            last step.
        description: a line for lists of models.
    """

    precision: str = "float16"
    averaged: bool = True
    description: str = ""


@dataclass(frozen=True, slots=True)
class Choices:
    """What only who publishes a model can say.

    Attributes:
        license: by the hubs' name, such as apache-2.0.
        languages: codes; none for that of the model.
        datasets: ids on a hub.
    """

    license: str = UNKNOWN_LICENSE
    languages: Sequence[str] = ()
    datasets: Sequence[str] = ()


def write_card(
    folder: Path,
    about: About,
    rows: Mapping[str, str],
    sections: Mapping[str, str],
    choices: Choices | None = None,
) -> None:
    """Write the card of a folder.

    Args:
        folder: of the model; its name is the model's.
        about: the model.
        rows: more of the table.
        sections: texts by title; those without text are left out.
        choices: for the front matter.
    """
    choices = Choices() if choices is None else choices
    languages = list(choices.languages) or ([about.language] if about.language else [])
    matter = ModelCardData(
        license=choices.license,
        language=languages or None,
        library_name=about.library,
        pipeline_tag=about.pipeline,
        tags=["echoic", *about.tags],
        datasets=list(choices.datasets) or None,
        metrics=list(about.metrics) or None,
        base_model=about.base,
    ).to_yaml()
    table = {"what": about.what, **about.rows, **rows, "licence": choices.license}
    lines = [f"---\n{matter}\n---\n\n# {folder.name}\n", "| | |\n| --- | --- |"]
    lines += [f"| {name} | {value} |" for name, value in table.items() if value]
    lines += [f"\n## {title}\n\n{text.strip()}" for title, text in sections.items() if text.strip()]
    (folder / CARD_FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def megabytes(path: Path) -> str:
    """Return the size of a file in words."""
    return f"{path.stat().st_size / 1e6:.1f} MB"


def text_of(path: Path | None, otherwise: str = "") -> str:
    """Return what a file of notes says."""
    return otherwise if path is None else path.read_text(encoding="utf-8").strip()
