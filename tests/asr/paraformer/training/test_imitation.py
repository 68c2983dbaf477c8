"""An encoder that imitates a Whisper."""

from dataclasses import replace

import pytest
import torch
from speech_data import novel, tiny_en
from torch.nn.utils.rnn import pad_sequence

from echoic.asr.paraformer.config import FrontendConfig
from echoic.asr.paraformer.frontend import Frontend
from echoic.asr.paraformer.training.imitation import Imitation, Imitator


def two() -> tuple[torch.Tensor, torch.Tensor]:
    said = sorted((u.wav for u in novel()), key=len)[:2]
    return pad_sequence(said, batch_first=True), torch.tensor([len(wav) for wav in said])


def imitator(*, cache: bool = False) -> Imitator:
    return Imitator(tiny_en(), 16, FrontendConfig(), cache=cache)


def test_frames_are_the_teacher_s_around_the_same_moment():
    wav, samples = two()
    _, lengths = Frontend()(wav, samples)
    frames = int(lengths.max())
    found = imitator().targets(wav, samples, frames)
    assert found.shape == (2, frames, 384)
    states = tiny_en().encode([wav[1, : samples[1]]]).states[0].float()
    for t in (3, frames // 2, frames - 3):
        # 60 t + 12.5 ms is the middle of the stacked frame, 60 t + 10 that of the three.
        own = torch.nn.functional.layer_norm(states[3 * t - 1 : 3 * t + 2].mean(0), (384,))
        assert torch.cosine_similarity(found[1, t], own, dim=0) > 0.97
        other = found[1, t + 2]
        assert torch.cosine_similarity(other, own, dim=0) < 0.95


def test_an_utterance_does_not_know_its_neighbours_and_has_nothing_behind_it():
    wav, samples = two()
    _, lengths = Frontend()(wav, samples)
    found = imitator().targets(wav, samples, 200)
    alone = imitator().targets(wav[:1, : samples[0]], samples[:1], int(lengths[0]))
    assert torch.equal(found[0, : lengths[0]], alone[0])
    assert bool(alone[0].abs().sum(1).gt(0).all()), "every frame that counts has a target"
    assert not found[0, lengths[0] + 3 :].any()


def test_what_is_kept_is_what_was_heard(monkeypatch: pytest.MonkeyPatch):
    wav, samples = two()
    kept = imitator(cache=True)
    first = kept.targets(wav, samples, 100)
    monkeypatch.setattr(Imitator, "_heard", lambda *_: pytest.fail("heard again"))
    assert torch.equal(kept.targets(wav.flip(0), samples.flip(0), 100).flip(0), first)
    monkeypatch.undo()
    torch.testing.assert_close(imitator().targets(wav, samples, 100), first, rtol=0, atol=5e-3)


def test_frames_that_do_not_count_change_nothing():
    judge = imitator()
    hidden = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    targets = torch.randn(2, 5, 384, generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([5, 2])
    loss = judge(hidden, lengths, targets)
    assert loss.item() == pytest.approx(
        float((judge.projection(hidden[0]) - targets[0]).square().mean(1).sum()) / 7
        + float((judge.projection(hidden[1, :2]) - targets[1, :2]).square().mean(1).sum()) / 7
    )
    hidden[1, 2:] = 100.0
    assert judge(hidden, lengths, targets).item() == loss.item()


def test_the_teacher_is_no_part_of_a_checkpoint():
    assert set(imitator().state_dict()) == {"projection.weight", "projection.bias"}


def test_its_weight_falls_to_nothing():
    imitation = Imitation(steps=4, weight=2.0)
    assert [imitation.at(step) for step in range(6)] == [2.0, 1.5, 1.0, 0.5, 0.0, 0.0]
    for steps, weight in ((0, 1.0), (5, 0.0)):
        with pytest.raises(ValueError, match="imitation of"):
            Imitation(steps, weight)


@pytest.mark.parametrize("change", [{"sample_rate": 8000}, {"lfr_n": 5}])
def test_frames_that_cannot_be_compared(change: dict[str, int]):
    with pytest.raises(ValueError, match="cannot be compared"):
        Imitator(tiny_en(), 16, replace(FrontendConfig(), **change))
