"""Two processes that train together learn what one process with all their sound would."""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor

from echoic.codecs.quantize.config import QuantizerConfig
from echoic.codecs.quantize.quantizer import Quantizer

STEPS = 12


def make() -> Quantizer:
    config = QuantizerConfig(
        4,
        codebook_size=8,
        num_layers=2,
        reservoir=8,
        decay=0.8,
        dead_share=0.3,
        dead_interval=3,
        dropout=0.5,
    )
    return Quantizer(config)


def latents(step: int) -> Tensor:
    return torch.randn(1, 4, 24, generator=torch.Generator().manual_seed(step))


def parts(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return unequal shares of a batch."""
    return x[:, :, :14], x[:, :, 14:]


def learn(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not live on in a forked process: it would wait
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    torch.manual_seed(rank)
    quantizer = make()
    for step in range(STEPS):
        quantizer(parts(latents(step))[rank])
    torch.save(quantizer.state_dict(), Path(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_statistics_are_those_of_all_processes(tmp_path: Path, free_port: int) -> None:
    context = mp.get_context("spawn" if sys.platform == "darwin" else "fork")
    workers = [
        context.Process(target=learn, args=(rank, free_port, str(tmp_path)), daemon=True)
        for rank in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = make()
    for step in range(STEPS):
        alone(latents(step))
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(first[name], second[name], rtol=0, atol=0)
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-5)
    assert int(first["codebooks.steps"]) == STEPS
