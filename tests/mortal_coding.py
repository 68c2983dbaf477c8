"""Coding on Ray by workers one of which dies."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ray_cluster import die_once

from echoic.audio.data.ray_pool import Row
from echoic.codecs.codec import Codec
from echoic.codecs.jobs.on_ray import Coding


@dataclass(frozen=True)
class _Mortal(Coding):
    marker: Path = Path("marker")

    def code(self, codec: Codec, rows: list[Row]) -> list[Row]:
        answers = super().code(codec, rows)
        die_once(self.marker)
        return answers


def mortal(marker: Path) -> partial[_Mortal]:
    """What takes the place of `Coding`: the first worker that has coded something dies of it."""
    return partial(_Mortal, marker=marker)
