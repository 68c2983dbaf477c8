"""A codec that learns what another one's latents are: the second stage of DistilCodec."""

import copy
from typing import Any

import torch
from torch import Tensor

from echoic.codecs.codec import Codec, Reconstruction
from echoic.codecs.distilcodec.model import inherit
from echoic.codecs.training.build import any_codec
from echoic.codecs.training.optimization import AveragedCodec
from echoic.codecs.training.task import CodecTask


class DistilledCodecTask(CodecTask):
    """Trains a student of one big book from a teacher of many small ones.

    The student inherits the teacher's encoder and decoder, and a loss draws its quantized latents
    to the teacher's. The published description names both; its code has only the first, since its
    distillation module is never called. The teacher does not change and is not in the checkpoint:
    a resumed run reads it again.

    Args:
        model: the student; see `CodecTask` for this and all that is not named here.
        teacher: checkpoint of the first stage, or folder or name of a codec.
        distillation: weight of the loss: the squared distance of the latents as a share of the
            teacher's power. 0 is the ablation, in which the teacher is only inherited.
        inherited: begin with the teacher's encoder and decoder; else with random weights, or those
            of `init_from`.
        kwargs: of `CodecTask`.
    """

    def __init__(
        self,
        model: dict[str, Any],
        teacher: str,
        distillation: float = 1.0,
        inherited: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        if distillation < 0:
            raise ValueError(f"distillation is {distillation}, expected 0 or more")
        self.distillation = distillation
        found = any_codec(teacher)
        _check(self.codec, found)
        if inherited:
            inherit(self.codec, copy.deepcopy(found))  # else they would share weights
            self.average = AveragedCodec(self.codec, self.average.decay)
        # In a list, where Lightning does not see it: neither learned nor saved.
        self._teacher = [found.requires_grad_(False)] if distillation else []

    def on_fit_start(self) -> None:
        """Bring the teacher to the device of the student."""
        for teacher in self._teacher:
            teacher.to(self.device)

    def latent_losses(self, wav: Tensor, made: Reconstruction) -> dict[str, Tensor]:
        """Return the losses of `CodecTask`, and the distance from the teacher's latents."""
        losses = super().latent_losses(wav, made)
        for teacher in self._teacher:
            with torch.no_grad(), self._networks(wav):
                target = teacher.quantizer.decode(teacher.encode(wav).codes).float()
            distance = (made.quantized.values.float() - target).square().mean()
            losses["distillation"] = distance / target.square().mean().clamp(min=1e-8)
        return losses

    def weight_of(self, name: str, step: int) -> float:
        """Return the weight of a loss at a step."""
        return self.distillation if name == "distillation" else super().weight_of(name, step)


def _check(student: Codec, teacher: Codec) -> None:
    ours, theirs = (
        (c.sample_rate, c.hop_length, c.quantizer.config.dim) for c in (student, teacher)
    )
    if ours != theirs:
        raise ValueError(
            f"the student has (Hz, samples of a frame, channels of latents) {ours}, the teacher "
            f"{theirs}: expected the same"
        )
