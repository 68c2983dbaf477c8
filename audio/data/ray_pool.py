"""Rows through a loaded model, on a Ray cluster: workers compute, this process gets the answers.

Ray Data keeps the pool of workers: it lets them be more or fewer as there is work, starts those
that died again, and gives what they had to others. Nothing is written here or there: whoever asked
writes each answer once, as it comes. Ray is loaded when the work begins.
"""

import contextlib
import json
import logging
import math
import os
import signal
import socket
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, cast

from echoic.audio.data.cluster import Cluster, ClusterError, ClusterLost, ClusterWarning
from echoic.audio.errors import AudioWarning, one_line

Row = dict[str, Any]
"""What JSON can hold. A question has a `key` of its own, the absolute `path` of a recording on a
file system that all machines share, and the path as it was `typed`; an answer has that `key`, and
an `error` where there is nothing else."""
Handle = Callable[[list[Row]], Iterable[Row]]
"""Answers questions; what it raises, but for `ClusterError`, is the answer to each of them."""

# Rows that Ray holds at a time: what this process knows ahead stays small for any corpus.
_ROUND = 16_384
# Pieces of work for each worker, so that none waits long for the last one.
_PIECES = 4
# How often work is given out again when its worker died.
_RETRIES = 2
_CONNECT_SECONDS = 10.0
# Questions and answers are small; Ray's own choice is a third of the memory.
_STORE_BYTES = 256 * 2**20
_BLOCK_BYTES = 2**20


def answers(
    cluster: Cluster, load: Callable[[], Handle], rows: Iterable[Row], *, together: int
) -> Iterator[Row]:
    """Answer each row once, in any order.

    A row whose worker dies again and again is answered with an `error`.

    Args:
        cluster: where, and by how many.
        load: pickled, and called once in each worker; it returns what answers rows there.
        rows: taken as there is need of them.
        together: rows that a worker takes at once, at the most.

    Raises:
        ClusterError: there is no such cluster, or `load` raised an error.
        ClusterLost: Ray failed.
    """
    with _connected(cluster) as gpus:
        rest = iter(rows)
        while waiting := {row["key"]: row for row in islice(rest, _ROUND)}:
            fair = len(waiting) // (_PIECES * cluster.workers.most)
            yield from _ask(cluster, gpus, load, waiting, max(1, min(together, fair)))
            if waiting:  # one of those whose worker died may have killed it: each for itself
                yield from _ask(cluster, gpus, load, waiting, 1, queued=1)
            for key in waiting:
                lost = "its worker died each time; see whether its memory is enough"
                yield {"key": key, "error": lost}


def _ask(
    cluster: Cluster,
    gpus: int,
    load: Callable[[], Handle],
    waiting: dict[str, Row],
    size: int,
    *,
    queued: int = 2,
) -> Iterator[Row]:
    """Give rows out, `size` at a time, and take those that are answered out of `waiting`.

    A worker that dies takes along the `queued` pieces of work that it was given.
    """
    import ray.data  # pyright: ignore[reportMissingImports]

    lines = [{"line": json.dumps(row)} for row in waiting.values()]
    pieces = math.ceil(len(lines) / size)
    try:
        data = ray.data.from_items(lines, override_num_blocks=pieces)
        context = data.context
        context.enable_progress_bars = context.print_on_execution_start = False
        context.max_errored_blocks = -1  # what is not answered is noticed here
        context.target_max_block_size = _BLOCK_BYTES
        answered = data.map_batches(
            _Worker,
            fn_constructor_args=(load,),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=min(cluster.workers.least, pieces),
                max_size=min(cluster.workers.most, pieces),
                max_tasks_in_flight_per_actor=queued,
            ),
            num_cpus=cluster.cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        tables = answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)
        for table in cast(Iterable[Any], tables):
            yield from _taken(table["line"].to_pylist(), waiting)
    except ClusterError:
        raise
    except Exception as e:
        kind, reason = type(e).__name__, one_line(str(e))
        raise ClusterLost(f"Ray failed ({kind}: {reason:.200}); see whether it still runs") from e


def _taken(lines: Iterable[str], waiting: dict[str, Row]) -> Iterator[Row]:
    """Yield the answers that are waited for, which they are no more then."""
    for line in lines:
        answer = json.loads(line)
        for text in answer.pop("warnings", ()):
            warnings.warn(text, AudioWarning, stacklevel=2)
        if "refused" in answer:
            raise ClusterError(answer["refused"])
        # Work that is given out again may answer a row that its dead worker has answered.
        if waiting.pop(answer.get("key"), None) is not None:
            yield answer


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[int]:
    """Be part of the cluster for a while; returns how many GPUs each worker gets."""
    ray = _quiet_ray()
    if ray.is_initialized():  # whoever began it ends it
        yield _gpus(cluster, ray, ours=False)
        return
    address = cluster.address or os.environ.get("RAY_ADDRESS") or "local"
    ours = address == "local"
    size: dict[str, Any] = {}
    if ours:
        # Enough for as many workers as there must be: else they would be waited for for ever.
        cpus = max(os.cpu_count() or 1, cluster.workers.least * cluster.cpus)
        size = {
            "num_cpus": cpus,
            "object_store_memory": _STORE_BYTES,
            "include_dashboard": False,
        }
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(address)
        with _silent_core():
            ray.init(address, logging_level=logging.CRITICAL, log_to_driver=False, **size)
    except (OSError, ValueError, RuntimeError) as e:
        where = "cannot be started" if ours else f"at {address!r} cannot be reached"
        raise ClusterError(
            f"Ray {where} ({one_line(str(e)):.200}); check --address, or leave it out to start "
            "Ray on this machine"
        ) from e
    finally:
        with contextlib.suppress(ValueError):  # not the main thread
            signal.signal(signal.SIGTERM, handler)  # Ray has put its own in the place of ours
    try:
        yield _gpus(cluster, ray, ours=ours)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Try what Ray would try for ever.

    Raises:
        OSError: nobody answers there.
        ValueError: it is no host:port.
    """
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    elif address not in ("auto", "local"):
        raise ValueError("expected host:port or auto")


@contextlib.contextmanager
def _silent_core() -> Iterator[None]:
    """Let what Ray's core says when it starts go nowhere: that its log level was set, for one."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _gpus(cluster: Cluster, ray: Any, *, ours: bool) -> int:
    there = ray.cluster_resources()
    gpus = {"auto": int(there.get("GPU", 0) >= 1), "cpu": 0}.get(cluster.device, 1)
    for name, needed in (("CPU", cluster.cpus), ("GPU", gpus)):
        if there.get(name, 0) >= needed:
            continue
        lack = f"a worker needs {needed} {name}, and Ray has {there.get(name, 0):g}"
        if ours:
            raise ClusterError(f"{lack} on this machine; take --device cpu, or an --address")
        warnings.warn(f"{lack}; waiting until it has more", ClusterWarning, stacklevel=2)
    return gpus


class _Worker:
    """The model in a process of Ray's, as Ray Data calls it: tables of lines in and out."""

    def __init__(self, load: Callable[[], Handle]) -> None:
        try:
            self._handle = load()
        except Exception as e:  # raised here it would be tried again, and its text be lost
            known = isinstance(e, ValueError | OSError | ImportError)
            self._handle = _refusing(one_line(str(e) if known else f"{type(e).__name__}: {e}"))

    def __call__(self, table: Any) -> Any:
        import pyarrow  # pyright: ignore[reportMissingImports]

        return pyarrow.table({"line": self.lines(table["line"].to_pylist())})

    def lines(self, lines: list[str]) -> list[str]:
        """Answer rows, and tell what there was to warn of."""
        rows = [json.loads(line) for line in lines]
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", AudioWarning)
            answers = self._answer(rows)
        texts = [str(w.message) for w in told if issubclass(w.category, AudioWarning)]
        return [json.dumps(_as_typed(row, rows)) for row in ({"warnings": texts}, *answers)]

    def _answer(self, rows: list[Row]) -> list[Row]:
        try:
            return list(self._handle(rows))
        except ClusterError as e:
            return [{"refused": str(e)}]
        except Exception as e:
            text = f"{type(e).__name__}: {one_line(str(e))} (unexpected; --debug prints where)"
            trace = traceback.format_exc()
            return [{"key": row["key"], "error": text, "trace": trace} for row in rows]


def _refusing(text: str) -> Handle:
    def refuse(_: list[Row]) -> list[Row]:
        raise ClusterError(text)

    return refuse


def _as_typed(answer: Row, rows: list[Row]) -> Row:
    """Return an answer that calls recordings as the user does."""

    def typed(text: str) -> str:
        for row in rows:
            text = text.replace(row["path"], row["typed"])
        return text

    for name in ("error", "refused"):
        if name in answer:
            answer[name] = typed(answer[name])
    if "warnings" in answer:
        answer["warnings"] = [typed(text) for text in answer["warnings"]]
    return answer


def _quiet_ray() -> Any:
    """Load Ray so that it says and sends nothing; it looks at these settings when it is loaded."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Its core writes to standard error past all of Python's logging, and what it tells of workers
    # that died goes to standard output, where nothing but results may be.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    import ray  # pyright: ignore[reportMissingImports]
    import ray.data  # pyright: ignore[reportMissingImports]

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    return ray
