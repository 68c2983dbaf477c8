"""Hubs of pages that hear everything."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from echoic.demo.hub import LiveHub
from echoic.streaming.gate import GateConfig
from echoic.streaming.session import SessionConfig

EVERYTHING = SessionConfig(gate=GateConfig(enabled=False))


@pytest.fixture
def make_hub() -> Iterator[Callable[..., LiveHub]]:
    """Make hubs from a recogniser, or from what makes one; they are closed after the test."""
    hubs: list[LiveHub] = []

    def make(recognizer: Any, **settings: Any) -> LiveHub:
        def load(chunk_ms: int) -> Any:
            return recognizer(chunk_ms) if callable(recognizer) else recognizer

        hubs.append(LiveHub(load, config=EVERYTHING, **settings))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close()
