"""Perceptual scores of other packages, where they are installed.

None of these is our own: each is called as its authors publish it, at the rate it was made for.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from echoic.audio.resample import Resampler

Compute = Callable[[np.ndarray, np.ndarray], float | None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A score and the package that computes it.

    Attributes:
        name: in JSON.
        label: in tables.
        package: what pip installs.
        install: how to install it.
        make: loads it; the function takes (T,) float32 original and reconstruction at 16 kHz, and
            gives None where the score is not defined, as for silence.
        blind: whether it hears the reconstruction alone, so that the original has a score, too.
    """

    name: str
    label: str
    package: str
    install: str
    make: Callable[[], Compute]
    blind: bool = False


#: Hz; all of these are wideband speech models.
SCORE_RATE = 16_000


class Scorer:
    """A score that is ready to be computed.

    Args:
        kind: which.
        sample_rate: of the sound that it will be given, in Hz.
    """

    def __init__(self, kind: Kind, sample_rate: int) -> None:
        self.kind = kind
        self._compute = kind.make()
        self._resampler = Resampler(sample_rate, SCORE_RATE)

    @property
    def version(self) -> str:
        """The package and its version."""
        try:
            return f"{self.kind.package} {metadata.version(self.kind.package)}"
        except metadata.PackageNotFoundError:
            return self.kind.package

    def __call__(self, reference: Tensor, estimate: Tensor) -> float | None:
        """Return the score of a reconstruction (T,) of an original (T,); None if undefined."""
        if not self.kind.blind and not bool(reference.any()):
            return None
        pair = [self._resampler(wav.float().cpu()).clamp(-1, 1) for wav in (reference, estimate)]
        value = self._compute(pair[0].numpy(), pair[1].numpy())
        return None if value is None or not np.isfinite(value) else float(value)


class Found(NamedTuple):
    """Scores that can be computed here, and why others cannot, by name."""

    scorers: list[Scorer]
    missing: dict[str, str]


def find_scorers(sample_rate: int, kinds: Iterable[Kind] | None = None) -> Found:
    """Load the scores whose packages are installed.

    Args:
        sample_rate: of the sound that will be scored, in Hz.
        kinds: which to look for; None for all known.
    """
    found = Found([], {})
    for kind in KINDS if kinds is None else kinds:
        try:
            found.scorers.append(Scorer(kind, sample_rate))
        except ModuleNotFoundError as e:
            found.missing[kind.name] = f"{e.name} is not installed: {kind.install}"
        except Exception as e:  # whatever a package that is half installed may raise
            reason = (str(e).splitlines() or [type(e).__name__])[0]
            found.missing[kind.name] = f"cannot be loaded ({reason}): {kind.install}"
    return found


def _pesq() -> Compute:
    pesq = _load("pesq")

    def compute(reference: np.ndarray, estimate: np.ndarray) -> float | None:
        try:
            return pesq.pesq(SCORE_RATE, reference, estimate, "wb")
        except pesq.PesqError:  # no utterance in it, or shorter than a quarter of a second
            return None

    return compute


def _stoi() -> Compute:
    pystoi = _load("pystoi")

    def compute(reference: np.ndarray, estimate: np.ndarray) -> float | None:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return pystoi.stoi(reference, estimate, SCORE_RATE, extended=False)
            except RuntimeWarning:  # too little speech for one of its frames of 384 ms
                return None

    return compute


def _visqol() -> Compute:
    api = _load("visqol").VisqolApi()
    # Its other mapping, the default where this one cannot run, scores up to two points higher.
    api.create(mode="speech", use_lattice_model=True)
    return lambda reference, estimate: (
        api.measure_from_arrays(reference.astype(np.float64), estimate, SCORE_RATE).moslqo
    )


def _dnsmos() -> Compute:
    dnsmos = _load("speechmos.dnsmos")
    return lambda _, estimate: dnsmos.run(estimate, sr=SCORE_RATE)["ovrl_mos"]


def _distillmos() -> Compute:
    module = _load("distillmos")
    with contextlib.redirect_stdout(sys.stderr):  # it prints where its weights are
        model = module.ConvTransformerSQAModel().eval()

    def compute(_: np.ndarray, estimate: np.ndarray) -> float:
        with torch.no_grad():
            return float(model(torch.from_numpy(estimate)[None]).mean())

    return compute


def _load(module: str) -> Any:
    return import_module(module)


KINDS = (
    Kind("pesq_wb", "PESQ-WB", "pesq", "pip install 'echoic[metrics]'", _pesq),
    Kind("stoi", "STOI", "pystoi", "pip install 'echoic[metrics]'", _stoi),
    Kind(
        "visqol", "ViSQOL speech", "visqol-python", "pip install 'visqol-python[lattice]'", _visqol
    ),
    Kind("dnsmos", "DNSMOS P.835", "speechmos", "pip install speechmos", _dnsmos, blind=True),
    Kind("distillmos", "DistillMOS", "distillmos", "pip install distillmos", _distillmos, True),
)
"""All known scores; the first two come with the extra `metrics`."""
