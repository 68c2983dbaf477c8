"""What may limit a batch: a GPU's memory, a process's memory, or the time of a step."""

import gc
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import torch

# A step of training with (batch_size, seconds, tokens).
Step = Callable[[int, float, int], object]

_SIGKILL = 9
_POLL_SECONDS = 0.02


class CudaTrial:
    """Fits what a GPU has memory for, with a tenth of it to spare.

    What the allocator keeps is not freed between trials: fragments are part of a real run too.

    Args:
        step: of training on the device; its gradients and the state of its optimizer may stay.
        device: the GPU.
        share: of its memory that may be used.
        spare_bytes: held during a step, in place of what a run of several processes needs beside
            it: the size of the parameters for the gradients' buckets.
    """

    def __init__(
        self,
        step: Step,
        device: torch.device | str = "cuda",
        share: float = 0.9,
        spare_bytes: int = 0,
    ) -> None:
        self.step = step
        self.device = torch.device(device)
        self.share = share
        self.spare_bytes = spare_bytes

    def fits(self, batch_size: int, seconds: float, tokens: int) -> bool:
        """Make a step; whether the memory was enough."""
        torch.cuda.set_per_process_memory_fraction(self.share, self.device)
        try:
            spare = torch.empty(self.spare_bytes, dtype=torch.uint8, device=self.device)
            self.step(batch_size, seconds, tokens)
            torch.cuda.synchronize(self.device)
            del spare
        except torch.OutOfMemoryError:
            fits = False
        else:
            fits = True
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self.device)
        gc.collect()  # the tensors of a step that broke off
        return fits


class TimeTrial:
    """Fits what takes no longer than a budget, so that all steps of a run last as long.

    Args:
        step: of training; on a GPU, one that waits for its end.
        budget: seconds.
        repeats: a step that takes too long is made again up to so many times in all: the first may
            have to warm up, and others work on the same machine.
        clock: seconds now.
    """

    def __init__(
        self,
        step: Step,
        budget: float,
        repeats: int = 2,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.step = step
        self.budget = budget
        self.repeats = repeats
        self.clock = clock

    def fits(self, batch_size: int, seconds: float, tokens: int) -> bool:
        """Make a step; whether it was quick enough."""
        for _ in range(self.repeats):
            start = self.clock()
            self.step(batch_size, seconds, tokens)
            if self.clock() - start <= self.budget:
                return True
        return False


class MemoryTrial:
    """Fits what a process of its own can do in a budget of memory.

    Each step runs in a new process, which is ended as soon as it is over the budget: neither it nor
    the system's own guard of the memory can end the search. It starts from a server that has loaded
    torch, not as a copy of this process, whose threads it would not have.

    Args:
        step: of training, from the building of the model on; it can be pickled, so a function of a
            module, or an object of a class of one.
        budget: bytes in all, the interpreter and torch (some 300 MB) included.
        timeout: seconds that a step may take.
        preload: modules that the server loads besides, in place of each process.
    """

    def __init__(
        self, step: Step, budget: int, timeout: float = 600.0, preload: Sequence[str] = ()
    ) -> None:
        self.step = step
        self.budget = budget
        self.timeout = timeout
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["torch", *preload])

    def fits(self, batch_size: int, seconds: float, tokens: int) -> bool:
        """Make a step in a new process; whether its memory was enough.

        Raises:
            RuntimeError: the step failed for another reason, or takes too long.
        """
        peak = self.peak(batch_size, seconds, tokens)
        return peak is not None and peak <= self.budget

    def peak(self, batch_size: int, seconds: float, tokens: int) -> int | None:
        """Return the most bytes that a step had at once; None where it was ended for that.

        Raises:
            RuntimeError: the step failed for another reason, or takes too long.
        """
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_measure, args=(sender, self.step, batch_size, seconds, tokens), daemon=True
        )
        process.start()
        sender.close()
        assert process.pid is not None
        what = f"the step with {batch_size} utterances of {seconds:g} s and {tokens} tokens"
        deadline = time.monotonic() + self.timeout
        try:
            while not receiver.poll(_POLL_SECONDS):
                if (_peak_of(process.pid) or 0) > self.budget:
                    return None
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{what} takes longer than {self.timeout:g} s")
            told = receiver.recv()
        except EOFError:
            process.join()
            if process.exitcode == -_SIGKILL:  # by the system, which had no memory left
                return None
            raise RuntimeError(f"{what} ended its process with {process.exitcode}") from None
        finally:
            process.kill()
            process.join()
            receiver.close()
        if isinstance(told, str):
            raise RuntimeError(f"{what} failed: {told}")
        return told


def _measure(sender: Connection, step: Step, batch_size: int, seconds: float, tokens: int) -> None:
    """Make a step and send the most bytes that this process had, None, or what went wrong."""
    try:
        step(batch_size, seconds, tokens)
        told = _peak_of("self")
        if told is None:
            import resource  # not everywhere

            # Kilobytes, but for macOS.
            unit = 1 if sys.platform == "darwin" else 1024
            told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    except MemoryError:
        told = None
    except Exception as error:
        # torch has no class of its own for this on a processor.
        short = "can't allocate memory" in str(error)
        told = None if short else f"{type(error).__name__}: {error}"
    sender.send(told)


def _peak_of(process: int | str) -> int | None:
    """Return the most bytes a process has had in memory; None where the system does not tell.

    A process's own count of that, `ru_maxrss`, begins with what its parent had.
    """
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return None
    lines = (line.split() for line in status.splitlines() if line.startswith("VmHWM:"))
    return next((int(words[1]) * 1024 for words in lines), None)
