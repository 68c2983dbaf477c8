"""Scores of other packages: the real ones where they are, and stand-ins for the rest."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from echoic.audio.io import load
from echoic.codecs.metrics.scorers import KINDS, Scorer, find_scorers

SPEECH = Path(__file__).parents[2] / "data" / "sense-and-sensibility-0880.opus"
BY_NAME = {kind.name: kind for kind in KINDS}


def speech(rate: int = 16000) -> torch.Tensor:
    return load(SPEECH, sample_rate=rate, mono=True).wav[0]


def noisy(wav: torch.Tensor, level: float) -> torch.Tensor:
    return wav + level * torch.randn(wav.shape, generator=torch.Generator().manual_seed(0))


def fake(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    module = types.ModuleType(name)
    for key, value in contents.items():
        setattr(module, key, value)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.parametrize(("name", "best"), [("pesq_wb", 4.644), ("stoi", 1.0)])
def test_real_scores_fall_with_noise(name, best):
    pytest.importorskip(BY_NAME[name].package)
    scorer = Scorer(BY_NAME[name], 16000)
    scores = [scorer(speech(), noisy(speech(), level)) or -1.0 for level in (0.0, 0.003, 0.05)]
    assert scores[0] == pytest.approx(best, abs=0.01)
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < 0.9 * scores[0]


@pytest.mark.parametrize("name", ["pesq_wb", "stoi"])
def test_real_scores_are_not_defined_for_silence_and_crumbs(name):
    pytest.importorskip(BY_NAME[name].package)
    scorer = Scorer(BY_NAME[name], 16000)
    for wav in (torch.zeros(16000), speech()[:2000]):
        assert scorer(wav, wav) is None


def test_pesq_is_the_packages_own_at_16_khz():
    pesq = pytest.importorskip("pesq")
    other = noisy(speech(), 0.01)
    expected = pesq.pesq(16000, speech().numpy(), other.numpy(), "wb")
    assert Scorer(BY_NAME["pesq_wb"], 16000)(speech(), other) == pytest.approx(expected)
    # 24 kHz is brought down to 16 kHz before.
    at_24k = Scorer(BY_NAME["pesq_wb"], 24000)(speech(24000), noisy(speech(24000), 0.01))
    assert at_24k is not None
    assert 1.0 < at_24k < 4.6


class FakeVisqol:
    def create(self, **settings: Any) -> None:
        self.settings = settings

    def measure_from_arrays(self, reference: np.ndarray, degraded: np.ndarray, rate: int) -> Any:
        assert self.settings == {"mode": "speech", "use_lattice_model": True}
        assert reference.dtype == np.float64
        assert rate == 16000
        return types.SimpleNamespace(moslqo=3.5 + float(degraded.mean()))


class FakeDistillMos(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        print("weights are here")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return x.mean(dim=1, keepdim=True) + 2.0


def test_stand_ins_are_called_as_the_packages_ask(monkeypatch, capsys):
    fake(monkeypatch, "visqol", VisqolApi=FakeVisqol)
    fake(monkeypatch, "distillmos", ConvTransformerSQAModel=FakeDistillMos)
    fake(monkeypatch, "speechmos")
    fake(
        monkeypatch,
        "speechmos.dnsmos",
        run=lambda x, sr: {"ovrl_mos": np.float32(x.max()), "sig_mos": 0.0} if sr == 16000 else {},
    )
    found = find_scorers(16000, [BY_NAME[n] for n in ("visqol", "dnsmos", "distillmos")])
    assert found.missing == {}
    assert capsys.readouterr().out == "", "results alone go to stdout"
    reference, estimate = torch.full((16000,), 0.5), torch.full((16000,), 0.25)
    scores = {s.kind.name: s(reference, estimate) for s in found.scorers}
    assert scores == {"visqol": 3.75, "dnsmos": 0.25, "distillmos": 2.25}
    assert [s.kind.name for s in found.scorers if s.kind.blind] == ["dnsmos", "distillmos"]
    loud = find_scorers(16000, [BY_NAME["dnsmos"]]).scorers[0]
    assert loud(reference, 4 * torch.ones(16000)) == 1.0  # it takes only [-1, 1]


def test_what_is_not_installed_is_told_with_its_mend(monkeypatch):
    for name in ("pesq", "pystoi", "visqol", "speechmos", "speechmos.dnsmos", "distillmos"):
        monkeypatch.setitem(sys.modules, name, None)
    found = find_scorers(16000)
    assert found.scorers == []
    assert set(found.missing) == set(BY_NAME)
    assert "pip install 'echoic[metrics]'" in found.missing["pesq_wb"]
    assert all("pip install" in why and "\n" not in why for why in found.missing.values())


def test_a_package_that_is_half_installed_is_told(monkeypatch):
    def broken() -> None:
        raise OSError("libfoo.so is missing\nand more")

    fake(monkeypatch, "distillmos", ConvTransformerSQAModel=broken)
    found = find_scorers(16000, [BY_NAME["distillmos"]])
    assert found.missing == {
        "distillmos": "cannot be loaded (libfoo.so is missing): pip install distillmos"
    }


def test_a_score_that_is_no_number_is_none(monkeypatch):
    fake(monkeypatch, "speechmos")
    fake(monkeypatch, "speechmos.dnsmos", run=lambda x, sr: {"ovrl_mos": float("nan")})
    (scorer,) = find_scorers(16000, [BY_NAME["dnsmos"]]).scorers
    assert scorer(torch.zeros(100), torch.zeros(100)) is None
