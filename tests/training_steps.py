"""Steps of training for trials in processes of their own, which import them from here."""

import os
import signal

import torch
from torch import nn


def tiny_step(batch_size: int, seconds: float, tokens: int) -> None:
    """A step of a tiny model on random sound at 16 kHz."""
    model = nn.Sequential(nn.Linear(400, 8), nn.ReLU(), nn.Linear(8, tokens))
    optimizer = torch.optim.AdamW(model.parameters())
    sound = torch.randn(batch_size, int(seconds * 40), 400)
    model(sound).mean(1).logsumexp(-1).sum().backward()
    optimizer.step()


def greedy_step(batch_size: int, seconds: float, tokens: int) -> None:
    """A step that asks for more than any machine has."""
    torch.empty(batch_size * 2**50)


def broken_step(batch_size: int, seconds: float, tokens: int) -> None:
    """A step with an error in it."""
    raise KeyError("labels")


def ended_step(batch_size: int, seconds: float, tokens: int) -> None:
    """A step that the system ends, as it does when it has no memory left."""
    os.kill(os.getpid(), signal.SIGKILL if batch_size > 1 else signal.SIGTERM)


def endless_step(batch_size: int, seconds: float, tokens: int) -> None:
    """A step that waits for what never comes."""
    signal.pause()
