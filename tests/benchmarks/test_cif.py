"""Our integrate-and-fire, forwards and backwards in one thread, against other ways to write it."""

import pytest
import torch
from benchmarks.cif_rivals import System, echoic, systems
from benchmarks.clock import least_ms, threads
from benchmarks.measure import Say, align, machine
from torch import Tensor
from torch.nn import functional

pytestmark = pytest.mark.timeout(0)  # none

SECONDS = 4.0  # for each system and shape
WIDTH = 512
MEAN_ALPHA = 0.25
SHAPES = [(1, 300), (8, 1000), (32, 300), (32, 1000)]
PACKAGES = ("torch", "funasr")


def draw(batch: int, frames: int) -> tuple[Tensor, Tensor]:
    """Frames, and alphas of a token every four of them."""
    generator = torch.Generator().manual_seed(batch * frames)
    hidden = torch.randn(batch, frames, WIDTH, generator=generator).requires_grad_()
    # Multiples of 2^-10: their sums are exact in any order, so that all count the same tokens.
    steps = torch.randint(int(2 * MEAN_ALPHA * 1024), (batch, frames), generator=generator)
    alphas = steps.float() / 1024
    return hidden, alphas.requires_grad_()


def forwards_backwards(system: System, hidden: Tensor, alphas: Tensor, grad: Tensor) -> None:
    hidden.grad = alphas.grad = None
    system.fire(hidden, alphas).backward(grad)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
def test_time(shape: tuple[int, int], say: Say) -> None:
    """Each way's time over ours, forwards and with gradients; tokens must be the same."""
    hidden, alphas = draw(*shape)
    ways = systems()
    want = echoic(hidden, alphas).detach()
    grad, grads = torch.randn_like(want), []
    for way in ways:
        tokens = way.fire(hidden, alphas).detach()
        error = (tokens[:, : want.shape[1]] - want).abs().max()
        assert error < way.tolerance, f"{way.name} makes other tokens: {error:.1e} off"
        # FunASR rounds the number of tokens and may have one more, of zeros. To cut that off in the
        # timed calls would cost each way a copy of all its gradients.
        grads.append(functional.pad(grad, (0, 0, 0, tokens.shape[1] - want.shape[1])))
    with threads(1):
        with torch.no_grad():
            forwards = least_ms([lambda w=w: w.fire(hidden, alphas) for w in ways], SECONDS)
        both = least_ms(
            [
                lambda w=w, g=g: forwards_backwards(w, hidden, alphas, g)
                for w, g in zip(ways, grads, strict=True)
            ],
            SECONDS,
        )
    lines = [["system", "forwards ms", "/ echoic", "with gradients ms", "/ echoic"]]
    for way, fwd, all_ms in zip(ways, forwards, both, strict=True):
        shown = [f"{fwd:.3f}", f"{fwd / forwards[0]:.1f}"]
        lines.append([way.name, *shown, f"{all_ms:.3f}", f"{all_ms / both[0]:.1f}"])
    title = f"{shape[0]} x {shape[1]} frames of {WIDTH} channels, one thread"
    say(f"## integrate-and-fire, {title}\n{machine(PACKAGES)}\n{align(lines)}")


def test_time_grows_with_frames_alone(say: Say) -> None:
    """Ours at longer and longer rows: what a frame costs."""
    lines = [["frames", "with gradients ms", "ns a frame"]]
    ours = System("echoic", echoic)
    with threads(1):
        for frames in (500, 1000, 2000, 4000, 8000, 16000):
            hidden, alphas = draw(1, frames)
            grad = torch.randn_like(echoic(hidden, alphas))

            def run(hidden: Tensor = hidden, alphas: Tensor = alphas, grad: Tensor = grad) -> None:
                forwards_backwards(ours, hidden, alphas, grad)

            (time,) = least_ms([run], SECONDS / 4)
            lines.append([str(frames), f"{time:.3f}", f"{1e6 * time / frames:.0f}"])
    say(f"## integrate-and-fire, one row of {WIDTH} channels\n{align(lines)}")
