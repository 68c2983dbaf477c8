"""Rows through a pool: each is answered once, whatever becomes of workers. Without Ray."""

import json
import socket
import warnings
from collections.abc import Iterator

import pytest
from pretended_ray import pretend

from echoic.audio.data import ray_pool
from echoic.audio.data.cluster import Cluster, ClusterError, Workers
from echoic.audio.data.ray_pool import Row, answers
from echoic.audio.errors import AudioWarning

TWO = Cluster(workers=Workers(2, 2))


def rows(count: int) -> Iterator[Row]:
    for i in range(count):
        yield {"key": f"{i}", "path": f"/data/{i}.wav", "typed": f"{i}.wav", "number": i}


def double(rows: list[Row]) -> list[Row]:
    return [{"key": row["key"], "double": 2 * row["number"]} for row in rows]


def load():
    return double


def ask(count: int, load=load, together: int = 4) -> dict[str, Row]:
    """What is answered, by key; each key once."""
    found: dict[str, Row] = {}
    for answer in answers(TWO, load, rows(count), together=together):
        assert answer["key"] not in found
        found[answer["key"]] = answer
    return found


def expected(count: int) -> dict[str, Row]:
    return {f"{i}": {"key": f"{i}", "double": 2 * i} for i in range(count)}


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, set()), (1, {1}), (7, {1}), (17, {1, 2}), (99, {3, 4})]
)
def test_rows_are_shared_out_fairly(monkeypatch, count, sizes):
    given = pretend(monkeypatch)
    assert ask(count) == expected(count)
    assert {len(keys) for keys in given} == sizes


def test_rows_are_taken_as_there_is_need_of_them(monkeypatch):
    pretend(monkeypatch)
    monkeypatch.setattr(ray_pool, "_ROUND", 4)
    source = rows(10)
    stream = answers(TWO, load, source, together=4)
    assert [next(stream)["key"] for _ in range(4)] == ["0", "1", "2", "3"]
    assert next(source)["key"] == "4"
    assert [answer["key"] for answer in stream] == ["5", "6", "7", "8", "9"]


def test_what_comes_twice_is_answered_once(monkeypatch):
    pretend(monkeypatch, lambda lines: lines + lines)
    assert ask(20) == expected(20)


def test_what_is_lost_is_asked_once_more_and_alone(monkeypatch):
    lost: list[str] = []

    def lose(lines: list[str]) -> list[str]:
        if len(lost) < 2 and any('"key": "3"' in line for line in lines):
            lost.extend(lines)
            return []
        return lines

    given = pretend(monkeypatch, lose)
    assert ask(40) == expected(40)
    assert given[-4:] == [["0"], ["1"], ["2"], ["3"]]


def test_a_row_that_is_lost_each_time_has_an_error(monkeypatch):
    pretend(monkeypatch, lambda lines: [] if any('"3"' in line for line in lines) else lines)
    found = ask(40)
    error = "its worker died each time; see whether its memory is enough"
    assert found.pop("3") == {"key": "3", "error": error}
    assert found == {key: row for key, row in expected(40).items() if key != "3"}


def test_what_a_worker_cannot_load_is_told(monkeypatch):
    pretend(monkeypatch)

    def fail():
        raise ValueError("no model 'x';\n take another")

    def break_down():
        raise ZeroDivisionError("division by zero")

    with pytest.raises(ClusterError, match=r"^no model 'x'; take another$"):
        ask(3, fail)
    with pytest.raises(ClusterError, match=r"^ZeroDivisionError: division by zero$"):
        ask(3, break_down)


def test_a_bug_of_the_model_is_the_answer_to_each_row(monkeypatch):
    pretend(monkeypatch)

    def load():
        def handle(rows: list[Row]) -> list[Row]:
            raise RuntimeError(f"{rows[0]['path']} is odd")

        return handle

    found = ask(2, load)
    assert set(found) == {"0", "1"}
    assert found["1"]["error"] == "RuntimeError: 1.wav is odd (unexpected; --debug prints where)"
    assert "in handle" in found["1"]["trace"]


def test_recordings_are_called_as_they_were_typed(monkeypatch):
    pretend(monkeypatch)

    def load():
        def handle(rows: list[Row]) -> list[Row]:
            warnings.warn(f"{rows[0]['path']} is cut short", AudioWarning, stacklevel=1)
            warnings.warn("of a library", UserWarning, stacklevel=1)
            return [{"key": row["key"], "error": f"{row['path']}: no sound"} for row in rows]

        return handle

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = ask(1, load)
    assert found["0"]["error"] == "0.wav: no sound"
    assert [str(w.message) for w in told] == ["0.wav is cut short"]


def test_names_that_are_not_utf8_arrive():
    name = "caf\udce9.wav"
    worker = ray_pool._Worker(lambda: lambda rows: [{"key": row["key"]} for row in rows])
    line = json.dumps({"key": name, "path": f"/{name}", "typed": name})
    assert line.isascii()
    assert json.loads(worker.lines([line])[1]) == {"key": name}


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:{port}", "refused"),
        ("ray://127.0.0.1:{port}", "refused"),
        ("cluster", "expected host:port or auto"),
        ("cluster:", "invalid literal"),
    ],
)
def test_an_address_where_no_cluster_is(monkeypatch, address: str, reason: str):
    class Ray:
        @staticmethod
        def is_initialized() -> bool:
            return False

    monkeypatch.setattr(ray_pool, "_quiet_ray", lambda: Ray)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    cluster = Cluster(address.format(port=port))
    with pytest.raises(ClusterError, match=f"cannot be reached .*{reason}.*check --address"):
        list(answers(cluster, load, rows(1), together=1))
