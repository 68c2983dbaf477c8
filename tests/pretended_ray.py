"""A pool of one worker in this process, in the place of Ray's: rows go through it as lines."""

import contextlib
import json
from collections.abc import Callable, Iterator

import pytest

from echoic.audio.data import ray_pool
from echoic.audio.data.cluster import Cluster
from echoic.audio.data.ray_pool import Handle, Row


def pretend(
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[list[str]], list[str]] = list,
) -> list[list[str]]:
    """Do without Ray; returns a list that grows by the keys that are given out together.

    `spoil` makes of a worker's lines what arrives of them.
    """
    given: list[list[str]] = []

    def ask(
        cluster: Cluster,
        gpus: int,
        load: Callable[[], Handle],
        waiting: dict[str, Row],
        size: int,
        *,
        queued: int = 2,
    ) -> Iterator[Row]:
        worker = ray_pool._Worker(load)
        rows = list(waiting.values())
        for start in range(0, len(rows), size):
            together = rows[start : start + size]
            given.append([row["key"] for row in together])
            lines = worker.lines([json.dumps(row) for row in together])
            yield from ray_pool._taken(spoil(lines), waiting)

    monkeypatch.setattr(ray_pool, "_ask", ask)
    monkeypatch.setattr(ray_pool, "_connected", lambda _: contextlib.nullcontext(0))
    monkeypatch.setattr("echoic.audio.data.cluster.find_spec", lambda _: "there")
    return given
