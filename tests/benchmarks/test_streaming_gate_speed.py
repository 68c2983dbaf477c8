"""What silence costs: the gate against silero-vad's own TorchScript, frame by frame, one thread.

The gate also removes direct current, keeps pre-roll and finds end points.
"""

import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from live_signals import recordings, vad

from echoic.streaming.gate import SpeechGate

SECONDS = 20
ROUNDS = 5


def cpu_ms_per_second(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return 1000 * (time.process_time() - began) / SECONDS


def test_the_gate_costs_little_more_than_the_detectors_own_code() -> None:
    spec = find_spec("silero_vad")
    assert spec is not None
    assert spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / "silero_vad.jit"
    rival, gate = torch.jit.load(str(path)), SpeechGate(vad=vad())
    frames = torch.cat(recordings())[None, : SECONDS * 16_000].split(512, dim=1)[:-1]

    def theirs() -> None:
        rival.reset_states()
        with torch.no_grad():
            for frame in frames:
                rival(frame, 16_000).item()

    def ours() -> None:
        state = gate.initial_state()
        for frame in frames:
            state, _ = gate.step(state, frame)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        times = [(cpu_ms_per_second(ours), cpu_ms_per_second(theirs)) for _ in range(ROUNDS)]
    finally:
        torch.set_num_threads(threads)
    gate_ms, rival_ms = (min(column) for column in zip(*times, strict=True))
    print(f"\ngate {gate_ms:.1f} ms/s, silero-vad {rival_ms:.1f} ms/s: {gate_ms / rival_ms:.2f}")
    assert gate_ms < 1.5 * rival_ms
