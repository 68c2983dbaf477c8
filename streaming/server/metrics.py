"""What Prometheus is told."""

from collections.abc import Callable, Collection, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST
_LATENCIES = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
_REQUESTS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0)


# Close codes of the protocol itself; beyond, a client may choose any.
_LAST_COMMON_CODE = 1015


class Metrics:
    """Counters of one server.

    Args:
        gauges: asked at each look.
    """

    def __init__(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Asked(gauges))
        self.requests = Counter(
            "echoic_requests",
            "Requests by route and status; sockets when they close, by their code.",
            ["route", "status"],
            registry=self._registry,
        )
        self.request_seconds = Histogram(
            "echoic_request_seconds",
            "Time of requests.",
            ["route"],
            buckets=_REQUESTS,
            registry=self._registry,
        )
        self.heard = Counter(
            "echoic_heard_seconds", "Sound of live streams.", registry=self._registry
        )
        self.events = Counter(
            "echoic_events", "Events of live streams.", ["type"], registry=self._registry
        )
        self.word_latency = Histogram(
            "echoic_word_latency_seconds",
            "Sound that had come in beyond a word's end when it was first told.",
            buckets=_LATENCIES,
            registry=self._registry,
        )
        self.resumed = Counter(
            "echoic_resumed_sessions", "Sessions that went on.", registry=self._registry
        )
        self.refused = Counter(
            "echoic_refused_sessions",
            "Sessions that found no room.",
            registry=self._registry,
        )

    def count(self, route: str, status: int | None, known: Collection[int]) -> None:
        """Count a request or socket that is over.

        Args:
            route: as it is declared; never what a client wrote.
            status: of HTTP, or a close code; None without.
            known: codes that have names of their own; others that clients make up have not.
        """
        named = status is not None and (status <= _LAST_COMMON_CODE or status in known)
        said = "none" if status is None else str(status) if named else "other"
        self.requests.labels(route, said).inc()

    def text(self) -> bytes:
        """Return all in Prometheus' text format."""
        return generate_latest(self._registry)


class _Asked(Collector):
    def __init__(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, (description, value) in self._gauges().items():
            yield GaugeMetricFamily(f"echoic_{name}", description, value=value)
