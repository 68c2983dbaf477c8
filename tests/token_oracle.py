"""A decoder whose next token is decided by a Python function of the window and the text so far."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from echoic.asr.whisper.cache import DecoderCache
from echoic.asr.whisper.config import GenerationConfig
from echoic.asr.whisper.decoder import Decoder
from echoic.asr.whisper.hypothesis import SearchTask, capacity
from echoic.asr.whisper.rules import TokenRules

WORDS = 5  # ids 0 to 4
EOT, START, PREVIOUS, SILENCE, BARE, VOCAB = 5, 6, 7, 8, 9, 10
CPU = torch.device("cpu")

Speaker = Callable[[int, tuple[int, ...]], Tensor]


class Oracle(Decoder):
    """Keeps the tokens themselves where other decoders keep keys."""

    def __init__(self, speaker: Speaker) -> None:
        torch.nn.Module.__init__(self)
        self.speaker = speaker
        self.rows_run = 0

    def forward(self, tokens: Tensor, cache: DecoderCache) -> Tensor:
        rows, new = tokens.shape
        self.rows_run += rows
        start, end = cache.length, cache.length + new
        cache.self_keys[0, :, 0, start:end, 0] = tokens.float()
        cache.self_values[0, :, 0, start:end, 0] = tokens.float()
        cache.length = end
        assert torch.equal(cache.self_keys[..., :end, :], cache.self_values[..., :end, :])
        past = cache.self_keys[0, :, 0, :end, 0]
        window = cache.cross_keys[0, :, 0, 0, 0].repeat_interleave(cache.group_size)
        hidden = torch.full((rows, new, 64), -1.0)
        hidden[:, :, 0] = window[:, None]
        for n in range(new):
            hidden[:, n, 1 : start + n + 2] = past[:, : start + n + 1]
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        flat = hidden.reshape(-1, hidden.shape[-1]).long().tolist()
        scores = [self.speaker(w, tuple(i for i in past if 0 <= i <= EOT)) for w, *past in flat]
        return torch.stack(scores).view(*hidden.shape[:-1], VOCAB)


def task(speaker: Speaker, windows: Sequence[int], budgets: Sequence[int] | int = 12) -> SearchTask:
    """A search over the windows with these numbers, without times."""
    limits = [budgets] * len(windows) if isinstance(budgets, int) else list(budgets)
    room = capacity(1, limits)
    count = len(windows)
    sound = torch.tensor([float(w) for w in windows]).view(1, count, 1, 1, 1)
    own = torch.full((1, count, 1, room, 1), torch.nan)
    return SearchTask(
        decoder=Oracle(speaker),
        cache=DecoderCache(own, own.clone(), sound, sound.clone(), None),
        prompts=torch.full((count, 1), START),
        rules=TokenRules(GENERATION, VOCAB, timestamps=False, device=CPU),
        time_limits=torch.ones(count, dtype=torch.int64),
        budgets=limits,
        no_speech=SILENCE,
        start=START,
        end=EOT,
    )


GENERATION = GenerationConfig(
    suppress_tokens=(),
    begin_suppress_tokens=(EOT,),
    alignment_heads=((0, 0),),
    is_multilingual=False,
    lang_to_id={},
    task_to_id={},
    eos_token_id=EOT,
    decoder_start_token_id=START,
    prev_sot_token_id=PREVIOUS,
    no_speech_token_id=SILENCE,
    no_timestamps_token_id=BARE,
    max_initial_timestamp_index=50,
)


def dice(seed: int, sharpness: float = 2.0) -> Speaker:
    """Random scores for every text, always the same ones."""

    def speak(window: int, text: tuple[int, ...]) -> Tensor:
        key = hash((seed, window, text)) % 2**31
        scores = torch.randn(VOCAB, generator=torch.Generator().manual_seed(key)) * sharpness
        scores[START:] = -4.0
        return scores

    return speak
