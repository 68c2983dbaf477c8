"""Runs one quantizer in a process of its own and prints what a call takes in memory, in MB.

Arguments: the name of a `Maker` in vq_systems.py, vectors, codes of a book.
"""

import sys
from pathlib import Path

import torch
from benchmarks import vq_systems
from benchmarks.vq_shapes import Shape

LAYERS, WIDTH = 2, 64


def peak_mb() -> float:
    """Return the largest resident size so far."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


def main() -> None:
    name, count, size = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    shape = Shape("memory", LAYERS, 1, size, WIDTH, (count,), dim=WIDTH)
    system = getattr(vq_systems, name).make(shape)
    x = system.arrange(shape.latents(count))
    with torch.no_grad():
        system.encode(system.arrange(shape.latents(2)))
        before = peak_mb()
        system.encode(x)
    print(peak_mb() - before)


if __name__ == "__main__":
    main()
