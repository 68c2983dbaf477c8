"""Work on a Ray cluster, as it is asked for: where, by how many workers, and what can go wrong.

Nothing here loads Ray; `ray_pool` does, when the work begins.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import Any

from echoic.audio.errors import AudioWarning


class ClusterError(ValueError):
    """The work cannot begin as it was asked for; the message says what to do instead."""


class ClusterLost(OSError):
    """Ray itself failed on the way."""


class ClusterWarning(AudioWarning):
    """What the cluster lacks at the moment; told in one line, as warnings about sound are."""


class RemoteError(ValueError):
    """What went wrong with a row, elsewhere; the message was written there, for users."""

    @classmethod
    def of(cls, answer: dict[str, Any]) -> "RemoteError":
        """Return the error of an answer, with the traceback as its note."""
        error = cls(answer["error"])
        if "trace" in answer:
            error.add_note(answer["trace"])
        return error


class EngineName(StrEnum):
    """Where a batch is computed: in this process, or on a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers there are: always `least`, and up to `most` while there is work."""

    least: int = 1
    most: int = 8

    @classmethod
    def parse(cls, text: str) -> "Workers":
        """Read "2" or "1:8".

        Raises:
            ClusterError: for anything else.
        """
        found = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
        least, most = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
        if not 1 <= least <= most:
            raise ClusterError(f"--workers {text!r} is no number of workers; write it as 2 or 1:8")
        return cls(least, most)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where to compute.

    Attributes:
        address: host:port of a running cluster, or "auto" for the one of this machine; None takes
            RAY_ADDRESS, and starts Ray on this machine for a while where that is not set.
        workers: how many.
        cpus: processors of a worker.
        device: "cuda" gives each worker a GPU, "auto" where the cluster has any, "cpu" never.
    """

    address: str | None = None
    workers: Workers = Workers()
    cpus: int = 1
    device: str = "auto"

    @classmethod
    def asked(
        cls, engine: EngineName, address: str | None, workers: str | None, **settings: Any
    ) -> "Cluster | None":
        """Return what was typed as a cluster; None for this process.

        Raises:
            ClusterError: it makes no sense, or Ray is not installed.
        """
        if engine is EngineName.LOCAL:
            if address is not None or workers is not None:
                raise ClusterError("--address and --workers are for Ray; add --engine ray")
            return None
        if any(find_spec(name) is None for name in ("ray", "pyarrow")):
            raise ClusterError("Ray is not installed; pip install 'echoic[ray]'")
        return cls(address, Workers() if workers is None else Workers.parse(workers), **settings)

    def __post_init__(self) -> None:
        if self.device.startswith("cuda:"):
            raise ClusterError(
                f"--device {self.device}: Ray gives each worker a GPU of its own; take cuda"
            )
