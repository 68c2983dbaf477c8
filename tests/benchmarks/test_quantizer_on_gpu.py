"""A million vectors on a GPU: ours against the rivals' and against what the card can do."""

from collections.abc import Callable

import pytest
import torch
from benchmarks import vq_shapes, vq_systems
from benchmarks.clock import least_ms
from benchmarks.measure import Say, align, machine
from benchmarks.vq_systems import System
from torch import Tensor

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(0),  # none
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

VECTORS = 1_000_000
PIECE = 125_000  # of the rivals, whose matrices of all vectors would take 4 to 20 GB a layer
SECONDS = 5
FLOAT32_LANES = 128  # of one processor; those of compute capability 8.0 have half
MATRIX = 8192


@torch.no_grad()
def test_time_on_a_gpu(say: Say) -> None:
    shape = vq_shapes.ENCODEC
    makers = [vq_systems.ECHOIC, vq_systems.ENCODEC, vq_systems.VQ_PYTORCH]
    systems = [maker.make(shape, "cuda") for maker in makers if maker.is_installed]
    x = shape.latents(VECTORS).cuda()
    works = [_work(s, x, VECTORS if s.name == "echoic" else PIECE) for s in systems]
    products = VECTORS * shape.layers * shape.size * shape.width
    times = least_ms(works, SECONDS, on_gpu=True)
    peak, reached = _peak(), _matrix_product()
    lines = [["system", "ms", "/ echoic", "TFLOP/s", "of the card's", "of its matrix product's"]]
    for system, time in zip(systems, times, strict=True):
        rate = 2 * products / time / 1e9
        shares = [f"{rate / peak:.2f}", f"{rate / reached:.2f}"]
        lines.append([system.name, f"{time:.1f}", f"{time / times[0]:.2f}", f"{rate:.1f}", *shares])
    say(
        f"## {shape}, {VECTORS} vectors, {torch.cuda.get_device_name()}: {peak:.0f} TFLOP/s of "
        f"float32, {reached:.0f} in a matrix product\n"
        f"{machine(('torch', 'vector-quantize-pytorch', 'encodec'))}\n{align(lines)}"
    )
    few = shape.latents(2000).cuda()
    codes = [system.tidy(system.encode(system.arrange(few))) for system in systems]
    for other in codes[1:]:
        assert (other == codes[0]).float().mean() > 0.99


def _work(system: System, x: Tensor, piece: int) -> Callable[[], None]:
    pieces = [system.arrange(part) for part in x.split(piece)]

    def work() -> None:
        for one in pieces:
            system.encode(one)
        torch.cuda.synchronize()

    return work


def _peak() -> float:
    """Return the TFLOP/s of float32 that clock and processors allow."""
    card = torch.cuda.get_device_properties(0)
    lanes = FLOAT32_LANES // 2 if (card.major, card.minor) == (8, 0) else FLOAT32_LANES
    return 2 * lanes * card.multi_processor_count * card.clock_rate / 1e9


def _matrix_product() -> float:
    """Return the TFLOP/s that torch's own matrix product reaches, in float32 without TF32."""
    a, b = (torch.randn(MATRIX, MATRIX, device="cuda") for _ in range(2))

    def work() -> None:
        torch.mm(a, b)
        torch.cuda.synchronize()

    torch.backends.cuda.matmul.allow_tf32 = False  # torch's default
    return 2 * MATRIX**3 / least_ms([work], SECONDS, on_gpu=True)[0] / 1e9
