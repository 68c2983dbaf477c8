"""The learning rate, the clipping and the means of weights."""

import pytest
import torch
from paraformer_runs import MODEL
from torch import nn

from echoic.asr.paraformer.model import Paraformer
from echoic.asr.paraformer.tokenizer import Tokenizer
from echoic.asr.paraformer.training.build import model_config
from echoic.asr.paraformer.training.optimization import (
    AveragedModel,
    OptimizerConfig,
    clip,
    make_optimizer,
    mean_of,
)


def model() -> Paraformer:
    tokenizer = Tokenizer.of_characters(["abc"])
    return Paraformer(model_config(MODEL, len(tokenizer)), tokenizer)


@pytest.mark.parametrize("schedule", ["noam", "cosine", "constant"])
def test_rises_in_a_line_and_then_as_it_is_told(schedule) -> None:
    config = OptimizerConfig(warmup_steps=10, schedule=schedule, final_share=0.1)
    shares = [config.share(step, 110) for step in range(200)]
    assert shares[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert shares == pytest.approx(sorted(shares[:10]) + sorted(shares[10:], reverse=True))
    expected = {"noam": (10 / 110) ** 0.5, "cosine": 0.1, "constant": 1.0}[schedule]
    assert shares[109] == pytest.approx(expected)
    assert shares[199] == pytest.approx({"noam": (10 / 200) ** 0.5}.get(schedule, expected))


def test_settings_that_are_none() -> None:
    with pytest.raises(ValueError, match="schedule is 'flat', expected one of noam, cosine, cons"):
        OptimizerConfig(schedule="flat")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="warmup_steps 0: expected"):
        OptimizerConfig(warmup_steps=0)
    with pytest.raises(ValueError, match="encoder_share 0: expected 0 or more, above 0 to 1"):
        OptimizerConfig(encoder_share=0)


def test_every_weight_is_in_the_optimizer_once() -> None:
    module = model()
    optimizer = make_optimizer(module.encoder, [module], OptimizerConfig())
    held = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters())
    encoder = [id(p) for g in optimizer.param_groups[:2] for p in g["params"]]
    assert sorted(encoder) == sorted(id(p) for p in module.encoder.parameters())


def test_an_encoder_rests_and_then_follows_more_slowly() -> None:
    config = OptimizerConfig(
        warmup_steps=10, schedule="constant", encoder_rest=20, encoder_share=0.5
    )
    shares = [config.share_of_encoder(step, 100) for step in range(40)]
    assert shares[:20] == [0.0] * 20
    assert shares[20:30] == pytest.approx([0.05 * (n + 1) for n in range(10)])
    assert shares[30:] == [0.5] * 10
    plain = OptimizerConfig(warmup_steps=10)
    assert [plain.share_of_encoder(n, 9) for n in range(20)] == [
        plain.share(n, 9) for n in range(20)
    ]


def test_clipping_and_gradients_that_are_not_finite() -> None:
    weight = nn.Parameter(torch.zeros(4))
    weight.grad = torch.full((4,), 3.0)
    assert float(clip([weight], 1.5)) == pytest.approx(6.0)
    assert float(weight.grad.norm()) == pytest.approx(1.5, rel=1e-4)
    assert float(clip([weight], None)) == pytest.approx(1.5, rel=1e-4)
    weight.grad = torch.tensor([1.0, float("nan"), 1.0, 1.0])
    clip([weight], 1.0)
    assert weight.grad is None


def test_the_average_follows() -> None:
    source = model()
    average = AveragedModel(source, 0.9)
    assert average.model.tokenizer is source.tokenizer
    before = {k: v.clone() for k, v in average.model.state_dict().items()}
    with torch.no_grad():
        for p in source.parameters():
            p += 1
    average.update(source)
    for name, p in average.model.named_parameters():
        assert torch.allclose(p, before[name] + 0.9, atol=1e-5), "the first mean is short"
    for _ in range(400):
        average.update(source)
    for name, p in average.model.named_parameters():
        assert torch.allclose(p, before[name] + 1, atol=1e-3)
    assert not average.train().training
    with pytest.raises(ValueError, match=r"ema_decay is 1\.0"):
        AveragedModel(source, 1.0)


def test_a_mean_of_checkpoints() -> None:
    states = [{"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([3.0, 6.0])}]
    assert torch.equal(mean_of(states)["a"], torch.tensor([2.0, 4.0]))
    with pytest.raises(ValueError, match="different models"):
        mean_of([*states, {"a": torch.zeros(3)}])
