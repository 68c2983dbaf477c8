"""The streaming LSTM beside the plain one, and beside EnCodec's."""

import pytest
import torch
from torch import nn

from echoic.streaming.layers.lstm import StreamingLSTM
from echoic.streaming.module import run_streamed


def test_has_the_parameters_and_outputs_of_the_plain_layer() -> None:
    plain = nn.LSTM(3, 5, 2, batch_first=True)
    layer = StreamingLSTM(3, 5, 2, channels_first=False)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(2, 30, 3)
    assert torch.equal(layer(x), plain(x)[0])
    torch.testing.assert_close(run_streamed(layer, x, [1, 0, 7]), plain(x)[0])
    assert layer(x[:, :0]).shape == (2, 0, 5)


def test_equals_encodecs() -> None:
    pytest.importorskip("transformers")
    from transformers import EncodecConfig
    from transformers.models.encodec.modeling_encodec import EncodecLSTM

    theirs = EncodecLSTM(EncodecConfig(num_lstm_layers=2), 4)
    ours = StreamingLSTM(4, 4, 2, skip=True)
    ours.load_state_dict(theirs.lstm.state_dict())
    x = torch.randn(2, 4, 30)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(run_streamed(ours, x, [1, 0, 7]), theirs(x), rtol=0, atol=1e-6)


def test_skip_needs_as_many_channels() -> None:
    with pytest.raises(ValueError, match="skip adds 3 channels to 5"):
        StreamingLSTM(3, 5, skip=True)
