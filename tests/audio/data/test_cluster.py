"""Which cluster, and how many workers: what is typed, without Ray."""

from typing import Any

import pytest

from echoic.audio.data import cluster
from echoic.audio.data.cluster import Cluster, ClusterError, EngineName, RemoteError, Workers

RAY, LOCAL = EngineName.RAY, EngineName.LOCAL


@pytest.fixture
def _ray_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "find_spec", lambda _: "there")


@pytest.mark.parametrize(
    ("text", "least", "most"), [("1", 1, 1), ("2", 2, 2), ("1:8", 1, 8), ("4:4", 4, 4)]
)
def test_numbers_of_workers(text: str, least: int, most: int):
    assert Workers.parse(text) == Workers(least, most)


@pytest.mark.parametrize("text", ["", "0", "0:2", "3:2", "-1", "two", "1:", ":4", "1:2:3", " 2"])
def test_no_numbers_of_workers(text: str):
    with pytest.raises(ClusterError, match="write it as 2 or 1:8"):
        Workers.parse(text)


@pytest.mark.usefixtures("_ray_is_there")
def test_what_is_asked_for():
    assert Cluster.asked(LOCAL, None, None) is None
    assert Cluster.asked(RAY, None, None) == Cluster(None, Workers(1, 8))
    asked = Cluster.asked(RAY, "auto", "2:3", cpus=4, device="cuda")
    assert asked == Cluster("auto", Workers(2, 3), 4, "cuda")


@pytest.mark.usefixtures("_ray_is_there")
@pytest.mark.parametrize(
    ("words", "settings", "message"),
    [
        ((LOCAL, "auto", None), {}, "add --engine ray"),
        ((LOCAL, None, "2"), {}, "add --engine ray"),
        ((RAY, None, "many"), {}, "--workers 'many' is no number"),
        ((RAY, None, None), {"device": "cuda:1"}, "take cuda"),
    ],
)
def test_what_makes_no_sense(words: tuple[Any, ...], settings: dict[str, Any], message: str):
    with pytest.raises(ClusterError, match=message):
        Cluster.asked(*words, **settings)


def test_without_ray(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    assert Cluster.asked(LOCAL, None, None) is None
    with pytest.raises(ClusterError, match=r"pip install 'echoic\[ray\]'"):
        Cluster.asked(RAY, None, None)


def test_an_error_from_elsewhere_has_its_traceback_as_a_note():
    error = RemoteError.of({"key": "a", "error": "is no sound", "trace": "Traceback ..."})
    assert str(error) == "is no sound"
    assert error.__notes__ == ["Traceback ..."]
