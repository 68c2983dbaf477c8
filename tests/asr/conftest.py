"""The command line with the boxed model, for every test of recognition."""

from pathlib import Path

import pytest


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from real_command import Command

    monkeypatch.chdir(tmp_path)
    return Command(monkeypatch)
