"""A Ray cluster of two processors on this machine, and recognisers that die in its workers."""

import contextlib
import os
import signal
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from fake_transcriber import FakeTranscriber

from echoic.asr.source import Source

TESTS = Path(__file__).parent
# Not by importing it: it is quiet only where it is loaded by `ray_pool`.
needed = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("ray", "pyarrow")), reason="needs ray[data]"
)


@contextlib.contextmanager
def started() -> Iterator[None]:
    """Have Ray run in this process, with workers that can import what tests do."""
    from echoic.audio.data.ray_pool import _quiet_ray

    ray = _quiet_ray()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", str(TESTS))
        ray.init(
            "local",
            num_cpus=2,
            object_store_memory=100 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=50,
        )
        try:
            yield
        finally:
            ray.shutdown()


def die_once(marker: Path) -> None:
    """Kill this process, if the marker is still there; it is not afterwards."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(marker)
        os.kill(os.getpid(), signal.SIGKILL)


def load_mortal(folder: Path, delay: float = 0.02) -> FakeTranscriber:
    """A recogniser that leaves its process id in `pids`, and dies at recordings that say so.

    "ONCE" kills the first worker that hears it, "PILL" each.
    """
    (folder / "pids" / str(os.getpid())).touch()

    def before(source: Source) -> None:
        text = Path(source.path).read_text()
        if text.startswith("ONCE"):
            die_once(folder / "marker")
        if text.startswith("PILL"):
            os.kill(os.getpid(), signal.SIGKILL)

    return FakeTranscriber(delay=delay, before=before)
