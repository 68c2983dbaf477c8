from pathlib import Path

import pytest

from echoic.cuda_ext import build


def test_one_build_serves_torch_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "find_cxx", lambda: "c++")
    monkeypatch.setattr(build, "version_line", lambda *_, **__: "c++ 12")
    here = build.cpu_plan()
    monkeypatch.setattr(build, "_torch_root", lambda: tmp_path)
    there = build.cpu_plan()
    assert here.key == there.key
    assert str(tmp_path / "include") in next(there.object_commands(Path("objects")))
    assert f"-L{tmp_path / 'lib'}" in there.link_command(Path("objects"))
