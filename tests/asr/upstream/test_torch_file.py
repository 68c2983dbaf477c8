"""PyTorch files read without foreign code: what is built, and what never runs."""

import argparse
import collections
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from careless_files import foreign_module, foreign_object, write_file
from torch import Tensor
from torch._utils import _rebuild_tensor_v2

from echoic.asr.errors import CheckpointError
from echoic.asr.upstream.torch_file import Inert, attributes, read_torch_file


def saved(path: Path, value: Any, **settings: Any) -> Path:
    torch.save(value, path, **settings)
    return path


def repickled(path: Path, data: bytes) -> Path:
    """A file with another pickle in the place of its own, all else as torch wrote it."""
    torch.save({"x": torch.arange(6.0)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for info, content in entries:
            archive.writestr(info.filename, data if info.filename.endswith(".pkl") else content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        read_torch_file(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("protocol", [2, 3])
def test_tensors_and_containers_are_what_they_were(tmp_path: Path, protocol: int):
    shared = torch.randn(4, 6)
    value = {
        "half": torch.randn(3).half(),
        "ids": torch.arange(5),
        "view": shared.t()[1:3],
        "whole": shared,
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "list": [1, (2.5, None, True), {"a": "b"}, {3, 4}, shared.shape],
        "ordered": collections.OrderedDict(x=torch.zeros(2)),
    }
    found = read_torch_file(saved(tmp_path / "a.pt", value, pickle_protocol=protocol))
    assert found.keys() == value.keys()
    for name, tensor in value.items():
        if isinstance(tensor, Tensor):
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)
    assert found["list"] == [1, (2.5, None, True), {"a": "b"}, {3, 4}, (4, 6)]
    assert torch.equal(found["ordered"]["x"], torch.zeros(2))


@pytest.mark.parametrize("protocol", [4, 5])
def test_protocols_that_torch_does_not_write_are_refused(tmp_path: Path, protocol: int):
    path = saved(tmp_path / "a.pt", {"x": torch.ones(2)}, pickle_protocol=protocol)
    assert "is damaged or no plain PyTorch file" in refusal(path)


class Slotted:
    __slots__ = ("gran",)

    def __init__(self) -> None:
        self.gran = 7


def test_objects_of_any_class_are_inert(tmp_path: Path):
    with foreign_module() as kind:
        path = saved(
            tmp_path / "a.pt",
            {
                "cfg": foreign_object(kind, {"gran": 15, "path": tmp_path}),
                "options": argparse.Namespace(lr=1e-5),
                "slots": Slotted(),
                "counts": collections.defaultdict(int, a=3),
            },
        )
    found = read_torch_file(path)
    assert found.pop("counts") == {"a": 3}
    assert all(isinstance(value, Inert) for value in found.values())
    assert found["cfg"].path == "careless_whisper_stream.config.Config"
    assert attributes(found["cfg"])["gran"] == 15  # type: ignore[index]
    assert isinstance(found["cfg"].values["path"], Inert)
    assert attributes(found["options"]) == {"lr": 1e-5}
    assert attributes(found["slots"]) == {"gran": 7}
    assert attributes(3) is None


class Canary:
    """Runs what it is told as soon as an ordinary reader meets it."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (subprocess.check_call, (["touch", "canary"],)),
        (exec, ("open('canary', 'w')",)),
        (eval, ("open('canary', 'w')",)),
        (open, ("canary", "w")),
        (Path.touch, (Path("canary"),)),
        (getattr, (io, "open")),
        (torch.load, ("other.pt",)),
    ],
)
def test_nothing_in_a_file_runs(
    function: Any, args: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    value = {"bomb": Canary(function, *args), "x": torch.ones(2)} if function is not getattr else {}
    path = saved(tmp_path / "a.pt", value) if value else repickled(tmp_path / "a.pt", GETATTR)
    try:
        found = read_torch_file(path)
    except CheckpointError as e:  # what calls a call's result is refused whole
        assert "\n" not in str(e)  # noqa: PT017
        assert "weights_only" not in str(e)  # noqa: PT017
    else:
        assert isinstance(found["bomb"] if value else found, Inert)
    assert not (tmp_path / "canary").exists()


# getattr(__import__("os"), "system")("touch canary"), as an attacker chains it.
GETATTR = (
    b"\x80\x02c__builtin__\ngetattr\n(c__builtin__\n__import__\n(X\x02\x00\x00\x00ostR"
    b"X\x06\x00\x00\x00systemtR(X\x0c\x00\x00\x00touch canarytR."
)


def test_the_attacks_are_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(GETATTR)
    assert (tmp_path / "canary").exists()


def test_no_module_that_a_file_names_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "bait.py").write_text("open('canary', 'w').close()\nclass Config: pass\n")
    monkeypatch.chdir(tmp_path)
    found = read_torch_file(repickled(tmp_path / "a.pt", b"\x80\x02cbait\nConfig\n)\x81."))
    assert isinstance(found, Inert)
    assert found.path == "bait.Config"
    assert "bait" not in sys.modules
    assert not (tmp_path / "canary").exists()


def test_no_attribute_takes_over(tmp_path: Path):
    with foreign_module() as kind:
        odd = {"values": 1, "args": 2, "__class__": 3, "__setstate__": Path.touch}
        path = saved(tmp_path / "a.pt", foreign_object(kind, odd))
    found = read_torch_file(path)
    assert isinstance(found, Inert)
    assert found.values["values"] == 1
    assert found.args == ()


@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_truncated_files_are_refused(keep: float, tmp_path: Path):
    path = write_file(tmp_path / "a.pt")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    assert "is truncated or no PyTorch file" in refusal(path)


def test_damaged_bytes_never_raise_anything_else(tmp_path: Path):
    path = saved(tmp_path / "a.pt", {"x": torch.ones(3), "list": [1, "two", {3}]})
    data = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    start = data.index(b"\x80\x02")
    for _ in range(150):
        broken = bytearray(data)
        at = start + int(torch.randint(0, 200, (), generator=generator))
        broken[at] = int(torch.randint(0, 256, (), generator=generator))
        path.write_bytes(broken)
        try:
            read_torch_file(path)
        except CheckpointError as e:
            assert "\n" not in str(e)  # noqa: PT017


def test_other_archives_are_refused(tmp_path: Path):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps({"x": 1}))
    assert "no PyTorch file" in refusal(path)
    torch.save({"x": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    assert "no PyTorch file" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "x")
    assert "no PyTorch checkpoint" in refusal(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)
    assert "without TorchScript" in refusal(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(10_000_000))
    assert "compressed entries" in refusal(path)
    with pytest.raises(FileNotFoundError):
        read_torch_file(tmp_path / "none.pt")
    assert "no PyTorch file" in refusal(tmp_path)


def tensor_pickle(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """The pickle of a tensor over the file's one storage of six numbers."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 6) if obj is storage else None

    storage = object()

    class Forged:
        def __reduce__(self) -> Any:
            return (
                _rebuild_tensor_v2,
                (storage, offset, size, stride, False, collections.OrderedDict()),
            )

    out = io.BytesIO()
    Pickler(out, 2).dump(Forged())
    return out.getvalue()


def test_a_tensor_lies_in_its_storage(tmp_path: Path):
    path = repickled(tmp_path / "a.pt", tensor_pickle(1, (2, 2), (2, 1)))
    assert read_torch_file(path).tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (7,), (1,)),
        (3, (2, 2), (2, 1)),
        (0, (10**9, 10**9), (0, 0)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2, 2), (1,)),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(
    offset: int, size: tuple[int, ...], stride: tuple[int, ...], tmp_path: Path
):
    assert "is damaged" in refusal(
        repickled(tmp_path / "a.pt", tensor_pickle(offset, size, stride))
    )
