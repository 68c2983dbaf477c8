"""Windows of many recordings on their way to the model, batched with others of their length."""

from collections.abc import Iterator

from echoic.asr.recording import Recording
from echoic.asr.windows import Window

# Windows that wait, in batches: more of them make batches of more equal length. Long ones are of
# equal length anyway, and waiting they would only fill the memory.
LOOKAHEAD = 4
LOOKAHEAD_SECONDS = 240.0


class WindowPool:
    """Takes windows from recordings as they are needed, and keeps count of what is open."""

    def __init__(self, recordings: Iterator[Recording], batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be 1 or more")
        self._recordings = recordings
        self._batch_size = batch_size
        self._waiting: list[tuple[Recording, Window]] = []
        self._reading: Recording | None = None
        self._open: list[Recording] = []

    def fill(self) -> bool:
        """Read until the next batch is there; return False when nothing is left to do."""
        while self._wants_more():
            if self._reading is None:
                self._reading = next(self._recordings, None)
                if self._reading is None:
                    break
                self._open.append(self._reading)
            window = self._reading.next_window()
            if window is None:
                self._reading = None
            else:
                self._waiting.append((self._reading, window))
        self._waiting = [item for item in self._waiting if item[0].error is None]
        return bool(self._open)

    def take_batch(self) -> list[tuple[Recording, Window]]:
        """Return the window that has waited longest and those nearest to it in length.

        Empty when all that could be read held no speech, or could not be read.
        """
        order = sorted(range(len(self._waiting)), key=lambda i: self._waiting[i][1].seconds)
        if not order:
            return []
        first = order.index(0) - self._batch_size // 2
        first = max(0, min(first, len(order) - self._batch_size))
        chosen = order[first : first + self._batch_size]
        batch = [self._waiting[i] for i in chosen]
        taken = set(chosen)
        self._waiting = [item for i, item in enumerate(self._waiting) if i not in taken]
        return batch

    def put_back(self, recording: Recording, window: Window) -> None:
        """Take what is left of a window; it comes next."""
        self._waiting.insert(0, (recording, window))

    def take_finished(self) -> list[Recording]:
        """Return the recordings with nothing left to decode, each once."""
        busy = {id(recording) for recording, _ in self._waiting}
        if self._reading is not None:
            busy.add(id(self._reading))
        finished = [r for r in self._open if r.error is not None or id(r) not in busy]
        self._open = [r for r in self._open if r not in finished]
        return finished

    def _wants_more(self) -> bool:
        # Recordings without speech fill no batch; they shall not wait for one.
        if len(self._open) >= self._batch_size * LOOKAHEAD:
            return False
        if len(self._waiting) < self._batch_size:
            return True
        seconds = sum(window.seconds for _, window in self._waiting)
        return len(self._waiting) < self._batch_size * LOOKAHEAD and seconds < LOOKAHEAD_SECONDS
