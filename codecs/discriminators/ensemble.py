"""Several discriminators as one, from plain settings."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from torch import Tensor, nn

from echoic.codecs.discriminators.period import PeriodConfig, PeriodDiscriminator
from echoic.codecs.discriminators.scale import ScaleConfig, ScaleDiscriminator
from echoic.codecs.discriminators.spectrogram import SpectrogramConfig, SpectrogramDiscriminator
from echoic.codecs.losses.adversarial import Judgement


class _Kind(NamedTuple):
    config: type
    module: type[nn.Module]


_KINDS = {
    "ms_stft": _Kind(SpectrogramConfig, SpectrogramDiscriminator),
    "mpd": _Kind(PeriodConfig, PeriodDiscriminator),
    "msd": _Kind(ScaleConfig, ScaleDiscriminator),
}


class Discriminators(nn.Module):
    """Families of discriminators that judge the same sound.

    Args:
        settings: by the name of a family - "ms_stft", "mpd" or "msd", with an ending such as
            "ms_stft.magnitude" where one is there twice - the fields of its config that differ
            from the published ones, as in {"ms_stft": {"filters": 8}, "mpd": {}}.

    Raises:
        ValueError: an unknown family or field, or no family.
    """

    def __init__(self, settings: Mapping[str, Mapping[str, Any] | None]) -> None:
        super().__init__()
        if not settings:
            raise ValueError(f"no discriminators: name some of {', '.join(_KINDS)}")
        self.families = nn.ModuleDict(
            {name.replace(".", "_"): _build(name, dict(s or {})) for name, s in settings.items()}
        )

    def forward(self, wav: Tensor) -> dict[str, list[Judgement]]:
        """Judge sounds (B, T); by family, each of its discriminators."""
        return {name: family(wav) for name, family in self.families.items()}


def _build(name: str, settings: dict[str, Any]) -> nn.Module:
    kind = _KINDS.get(name.split(".")[0])
    if kind is None:
        raise ValueError(f"discriminator {name!r} is none of {', '.join(_KINDS)}")
    known = {f.name for f in fields(kind.config)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ValueError(
            f"discriminator {name} has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    return kind.module(kind.config(**values))
