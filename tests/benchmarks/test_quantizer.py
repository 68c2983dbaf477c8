"""Our quantizer against the rivals': time, agreement of codes, memory, and what a GPU gives."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from benchmarks import vq_memory, vq_shapes, vq_systems
from benchmarks.clock import least_ms, threads
from benchmarks.measure import Say, align, machine
from benchmarks.vq_agreement import compare
from benchmarks.vq_shapes import Shape
from benchmarks.vq_systems import Maker, System

pytestmark = pytest.mark.timeout(0)  # none

SECONDS = 1.5  # for each system, shape and count
PACKAGES = ("torch", "vector-quantize-pytorch", "encodec", "descript-audio-codec")


class Race(NamedTuple):
    """A shape, ours and the rivals for it."""

    shape: Shape
    ours: Maker
    rivals: tuple[Maker, ...]


ENCODEC_AND_VQ = (vq_systems.ENCODEC, vq_systems.VQ_PYTORCH)
RACES = [
    Race(vq_shapes.HIFI, vq_systems.ECHOIC, (vq_systems.VQ_PYTORCH,)),
    Race(vq_shapes.ENCODEC, vq_systems.ECHOIC, ENCODEC_AND_VQ),
    Race(vq_shapes.DAC, vq_systems.ECHOIC_FACTORIZED, (vq_systems.DAC,)),
    Race(vq_shapes.DAC_INSIDE, vq_systems.ECHOIC, ENCODEC_AND_VQ),
    Race(vq_shapes.DISTIL, vq_systems.ECHOIC, ENCODEC_AND_VQ),
]


@pytest.mark.parametrize("count", [1, 2], ids=["one_thread", "two_threads"])
@pytest.mark.parametrize("race", RACES, ids=lambda race: race.shape.name.replace(" ", "_"))
@torch.no_grad()
def test_time(race: Race, count: int, say: Say) -> None:
    """Each rival's time over ours; the codes must be the same but for ties."""
    systems = [race.ours.make(race.shape, "cpu"), *_rivals(race, say)]
    kind = "processor" if count == 1 else "wall"
    lines = [["vectors", "system", f"{kind} ms", "/ echoic", "same codes", "worst tie"]]
    with threads(count):
        for vectors in race.shape.counts:
            lines += _lines(race.shape, systems, vectors)
    say(f"## {race.shape}, threads: {count}\n{machine(PACKAGES)}\n{align(lines)}")


def _lines(shape: Shape, systems: Sequence[System], vectors: int) -> list[list[str]]:
    x = shape.latents(vectors)
    inputs = [system.arrange(x) for system in systems]
    codes = [s.tidy(s.encode(own)) for s, own in zip(systems, inputs, strict=True)]
    works = [lambda s=s, own=own: s.encode(own) for s, own in zip(systems, inputs, strict=True)]
    times = least_ms(works, SECONDS)
    lines: list[list[str]] = []
    for system, own, time in zip(systems, codes, times, strict=True):
        agreement = compare(shape, x, codes[0], own)
        assert agreement.worst <= 1, f"{system.name} has other codes, and no ties explain them"
        shown = [f"{time:.3f}", f"{time / times[0]:.2f}"]
        lines.append(
            [str(vectors), system.name, *shown, f"{agreement.same:.5f}", f"{agreement.worst:.2f}"]
        )
    return lines


def test_memory(say: Say) -> None:
    """What one call takes, at eight times the codes and at eight times the vectors."""
    names = ["ECHOIC", "ENCODEC", "VQ_PYTORCH"]
    cases = [(4_000, 1_024), (4_000, 8_192), (32_000, 1_024), (32_000, 8_192)]
    lines = [["MB a call", *(f"{n} vectors x {k} codes" for n, k in cases)]]
    for name in names:
        maker: Maker = getattr(vq_systems, name)
        if not maker.is_installed:
            say(f"{maker.package}: not measured, it is not installed")
            continue
        taken = [_memory(name, *case) for case in cases]
        lines.append([name.lower(), *(f"{mb:.1f}" for mb in taken)])
        if name == "ECHOIC":
            # Codes and vectors in, codes and vectors out; a matrix of scores would take 1 GB.
            assert max(taken) < 40, taken
            assert taken[3] - taken[2] < 5, taken
    say(f"## memory, {vq_memory.LAYERS} layers of {vq_memory.WIDTH} channels\n{align(lines)}")


def _memory(name: str, vectors: int, size: int) -> float:
    script = Path(vq_memory.__file__)
    command = [sys.executable, str(script), name, str(vectors), str(size)]
    paths = os.pathsep.join([str(script.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": paths}
    )
    return float(done.stdout)


def _rivals(race: Race, say: Say) -> list[System]:
    systems: list[System] = []
    for maker in race.rivals:
        if maker.is_installed:
            systems.append(maker.make(race.shape, "cpu"))
        else:
            say(f"{maker.package}: not measured, it is not installed")
    return systems
