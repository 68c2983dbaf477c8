"""Adversarial losses by hand-made judgements."""

import pytest
import torch

from echoic.codecs.losses import Judgement, discriminator_loss, feature_matching, generator_loss


def say(*scores: float, features: tuple[torch.Tensor, ...] = ()) -> Judgement:
    return Judgement(torch.tensor(scores), list(features))


def test_least_squares() -> None:
    real, fake = [say(1.0, 3.0)], [say(0.0, 2.0)]
    assert float(discriminator_loss(real, fake)) == pytest.approx((0 + 4) / 2 + (0 + 4) / 2)
    assert float(generator_loss(fake)) == pytest.approx((1 + 1) / 2)


def test_hinge_ignores_what_is_sure_but_the_codec_goes_on_learning() -> None:
    real, fake = [say(2.0)], [say(-2.0)]
    assert float(discriminator_loss(real, fake, "hinge")) == 0.0
    assert float(discriminator_loss(fake, real, "hinge")) == 6.0
    assert float(generator_loss(real, "hinge")) == -2.0


def test_reductions() -> None:
    fake = [say(0.0), say(0.0), say(0.0), say(0.0)]
    assert float(generator_loss(fake)) == 4.0
    assert float(generator_loss(fake, reduction="mean")) == 1.0


def test_features_match_layer_by_layer_and_the_recording_learns_nothing() -> None:
    true = torch.full((2, 3), 4.0, requires_grad=True)
    made = torch.full((2, 3), 3.0, requires_grad=True)
    loss = feature_matching([say(0.0, features=(true, true))], [say(0.0, features=(made, true))])
    assert float(loss.detach()) == 1.0
    loss.backward()
    assert true.grad is None or not true.grad.any()
    assert made.grad is not None


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_normalised_features_have_no_scale(scale: float) -> None:
    true, made = scale * torch.tensor([2.0, 2.0]), scale * torch.tensor([1.0, 2.0])
    real, fake = [say(0.0, features=(true,))], [say(0.0, features=(made,))]
    assert float(feature_matching(real, fake, normalized=True)) == pytest.approx(0.25)


def test_refuses_other_kinds_and_nothing_to_learn_from() -> None:
    with pytest.raises(ValueError, match="'wasserstein', expected one of lsgan, hinge"):
        generator_loss([say(0.0)], "wasserstein")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="no judgements"):
        generator_loss([])
