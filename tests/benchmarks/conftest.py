"""Rows, weights and processes that the benchmarks share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from benchmarks.measure import Say
from benchmarks.rivals import Process, Spec
from benchmarks.rows import Row, read_rows
from benchmarks.settings import Settings
from benchmarks.weights import Weights, convert

Start = Callable[[Sequence[Spec], Sequence[Row]], list[Process]]
WARM_UP = 16  # files


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings.from_environment()


@pytest.fixture(scope="session")
def rows(settings: Settings) -> list[Row]:
    return read_rows(settings.manifest, settings.rows)


@pytest.fixture(scope="session")
def weights(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return convert(settings.model, tmp_path_factory.mktemp("weights"))


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Print at once, past pytest's capture: a table is what a benchmark is for."""

    def print_now(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}" if "\n" in text else text, flush=True)

    return print_now


@pytest.fixture
def start(settings: Settings, tmp_path: Path, say: Say) -> Iterator[Start]:
    """Start systems, one after the other, and warm each up on the first of some rows."""
    with ExitStack() as stack:

        def start_all(specs: Sequence[Spec], rows: Sequence[Row]) -> list[Process]:
            processes: list[Process] = []
            for spec in specs:
                if not spec.is_installed:
                    say(f"{spec.name}: not measured, {spec.package} is not installed")
                    continue
                process = stack.enter_context(Process(spec, settings, tmp_path))
                process.transcribe([row.audio for row in rows[:WARM_UP]])
                processes.append(process)
            return processes

        yield start_all
