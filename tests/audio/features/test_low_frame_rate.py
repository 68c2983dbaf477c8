"""Low frame rate against a plain loop over lists, and am.mvn files."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from echoic.audio.features import Cmvn, Fbank, LowFrameRate
from echoic.streaming.module import chain, run_streamed


def stacked(frames: list[int], m: int, n: int) -> list[list[int]]:
    """Stack as FunASR's offline front end: pad left with the first, right with the last frame."""
    out = []
    padded = [frames[0]] * ((m - 1) // 2) + frames
    for i in range(math.ceil(len(frames) / n)):
        stack = padded[i * n : i * n + m]
        out.append(stack + [frames[-1]] * (m - len(stack)))
    return out


@pytest.mark.parametrize(("m", "n"), [(7, 6), (4, 3), (5, 1), (3, 3), (1, 1)])
@pytest.mark.parametrize("count", [1, 2, 6, 7, 12, 13, 98, 102, 103])
def test_equals_the_plain_loop(m: int, n: int, count: int) -> None:
    module = LowFrameRate(m, n, num_features=2)
    x = torch.arange(1, count + 1).float()
    found = module(torch.stack([x, -x], dim=-1)[None])
    expected = torch.tensor(stacked(list(range(1, count + 1)), m, n)).float()
    assert found.shape == (1, math.ceil(count / n), 2 * m)
    assert torch.equal(found[0, :, 0::2], expected)
    assert torch.equal(found[0, :, 1::2], -expected)


@pytest.mark.parametrize(("frames", "stacks"), [(0, 0), (6, 1), (7, 2), (13, 3), (102, 17)])
def test_counts_of_the_published_settings(frames: int, stacks: int) -> None:
    assert LowFrameRate()(torch.randn(1, frames, 80)).shape == (1, stacks, 560)


def test_wrong_sizes_are_told() -> None:
    with pytest.raises(ValueError, match="num_features of what comes before"):
        LowFrameRate()(torch.zeros(1, 10, 40))
    with pytest.raises(ValueError, match="hop is 8"):
        LowFrameRate(7, 8)


def write_mvn(path: Path, shift: list[float], scale: list[float]) -> Path:
    size, words = len(shift), lambda values: " ".join(map(str, values))
    path.write_text(
        f"<Nnet> \n<Splice> {size} {size} \n[ 0 ]\n"
        f"<AddShift> {size} {size} \n<LearnRateCoef> 0 [ {words(shift)} ]\n"
        f"<Rescale> {size} {size} \n<LearnRateCoef> 0 [ {words(scale)} ]\n</Nnet> \n"
    )
    return path


def test_reads_am_mvn(tmp_path: Path) -> None:
    path = write_mvn(tmp_path / "am.mvn", [-8.25, -9.5e0, 1e-3], [0.25, 0.5, 2])
    module = Cmvn.from_kaldi(path)
    found = module(torch.tensor([[[8.25, 10.5, 0.0]]]))
    torch.testing.assert_close(found, torch.tensor([[[0.0, 0.5, 2e-3]]]))


def test_a_damaged_am_mvn_is_refused(tmp_path: Path) -> None:
    path = write_mvn(tmp_path / "am.mvn", [1.0, 2.0], [3.0, 4.0])
    path.write_text(path.read_text().replace("3.0 4.0", "3.0"))
    with pytest.raises(ValueError, match="1 values of <Rescale>, expected 2"):
        Cmvn.from_kaldi(path)
    path.write_text("something else")
    with pytest.raises(ValueError, match="0 values of <AddShift>"):
        Cmvn.from_kaldi(path)
    with pytest.raises(ValueError, match="two vectors of one length"):
        Cmvn(torch.zeros(2), torch.zeros(3))


def test_paraformers_front_end_streams(speech: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    cmvn = Cmvn(torch.randn(560, generator=generator), torch.rand(560, generator=generator))
    fbank, stack = Fbank(), LowFrameRate()
    whole = cmvn(stack(fbank(speech)))
    front = chain(fbank, stack, cmvn)
    assert (front.frame_size, front.lookahead) == (960, 240)
    for size in (9600, 4800, 1600, 77):
        found = run_streamed(front, speech, [size] * (speech.shape[1] // size))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-4)
