"""What the environment says about size and data of a benchmark."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Settings:
    """Knobs; every one is an environment variable `ECHOIC_BENCH_<NAME>`.

    Attributes:
        model: the model everybody runs: a name in the box, an id or a folder.
        manifest: rows with `audio` and `text` to transcribe instead of tests/data.
        rows: take only this many rows of the manifest, drawn with a fixed seed; 0 takes all.
        minutes: length of the long recording; the memory test also reads twelve times that.
        runs: paired runs.
        threads: of each process.
        fallback: whether everybody may decode again at higher temperatures, as is their default.
        float_model: a folder with float weights to compare the box with.
        batch_seconds: most sound in a batch of training, padding included.
    """

    model: str = "tiny.en"
    manifest: Path | None = None
    rows: int = 0
    minutes: float = 10.0
    runs: int = 5
    threads: int = 2
    fallback: bool = True
    float_model: Path | None = None
    batch_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in ("minutes", "runs", "threads", "batch_seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"ECHOIC_BENCH_{name.upper()} is {getattr(self, name)}; above 0")
        for name in ("manifest", "float_model"):
            path = getattr(self, name)
            if path is not None and not path.exists():
                raise ValueError(f"ECHOIC_BENCH_{name.upper()} names {path}, which does not exist")

    @classmethod
    def from_environment(cls) -> Self:
        """Read the knobs."""
        manifest, floats = _value("MANIFEST"), _value("FLOAT_MODEL")
        return cls(
            model=_value("MODEL") or "tiny.en",
            manifest=Path(manifest) if manifest else None,
            rows=int(_value("ROWS") or 0),
            minutes=float(_value("MINUTES") or 10),
            runs=int(_value("RUNS") or 5),
            threads=int(_value("THREADS") or 2),
            fallback=(_value("FALLBACK") or "1") != "0",
            float_model=Path(floats) if floats else None,
            batch_seconds=float(_value("BATCH_SECONDS") or 120),
        )


def _value(name: str) -> str:
    return os.environ.get(f"ECHOIC_BENCH_{name}", "").strip()
