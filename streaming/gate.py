"""Which parts of a live stream are utterances: the only part that hears silence.

A voice activity detector judges the stream in frames of 512 samples at 16 kHz. An utterance opens
after a few frames of speech in a row and begins a little before them, because a recogniser that
misses the soft beginning of a word mishears it; `EndpointDetector` ends it.

Every frame is judged by itself, not in a batch with its neighbours of the same stream: sums of
floats depend on how many rows are computed together, and so would decisions at the threshold.
"""

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from echoic.audio.endpoint import EndpointConfig, EndpointDetector, EndpointRule, EndpointState
from echoic.audio.silero import FRAME_SIZE, SAMPLE_RATE, SileroVad, VadState
from echoic.streaming.vad_engine import Frame, Judged, VadEngine
from echoic.streaming.work import Ask, Work, alone

# Of a frame in the running mean that counts as direct current: 0.6 s, a high-pass at 0.3 Hz.
_OFFSET_RATE = 0.05


def _live_endpoint() -> EndpointConfig:
    return EndpointConfig(silence_after_speech_seconds=0.8, max_utterance_seconds=math.inf)


@dataclass(frozen=True, slots=True)
class GateConfig:
    """When utterances open and end.

    Of 15 minutes of prompts and read speech, the defaults lost 0.11 % of what a far more sensitive
    detector (threshold 0.35, any length, 0.1 s padding) took for speech, 1 onset frame 0.07 %, a
    threshold of 0.35 0.06 %.

    Attributes:
        enabled: whether silence is kept from the recogniser; False makes the whole stream one
            utterance, and costs nothing.
        threshold: a frame is speech at a probability of at least this.
        onset_frames: frames of 32 ms in a row that must be speech to open an utterance.
        preroll_seconds: sound before these frames that the utterance begins with, rounded up to
            frames; what the utterance before has heard is not heard again.
        endpoint: when an utterance is over. Its rule for utterances in which nothing is said
            never applies, as the gate opens on speech.
    """

    enabled: bool = True
    threshold: float = 0.5
    onset_frames: int = 2
    preroll_seconds: float = 0.4
    endpoint: EndpointConfig = field(default_factory=_live_endpoint)

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold is {self.threshold}: expected a probability between 0 and 1; lower "
                "opens on softer speech, and on more noise"
            )
        if self.onset_frames < 1:
            raise ValueError(
                f"onset_frames is {self.onset_frames}: expected 1 or more; set enabled to False "
                "to hear everything"
            )
        if not 0 <= self.preroll_seconds <= 10:
            raise ValueError(
                f"preroll_seconds is {self.preroll_seconds}: expected 0 to 10 seconds; set enabled "
                "to False to hear everything"
            )


@dataclass(frozen=True, slots=True)
class Opened:
    """An utterance begins.

    Attributes:
        start: its first sample, at 16 kHz from the beginning of the stream.
        time: samples heard when this was decided.
    """

    start: int
    time: int


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """The next sound of the open utterance: `wav` (1, T) float32, T > 0."""

    wav: Tensor


@dataclass(frozen=True, slots=True)
class Ended:
    """The open utterance is over.

    Attributes:
        end: samples from the beginning of the stream; all before were given as sound.
        rule: why; None at the end of the stream.
    """

    end: int
    rule: EndpointRule | None


GateAction = Opened | Sound | Ended


@dataclass(frozen=True, slots=True)
class GateState:
    """What the gate remembers; positions are samples at 16 kHz, and multiples of 512 when enabled.

    Attributes:
        offset: (1, 1) the stream's direct current, which is kept from the detector.
        vad: of the voice activity detector, always between two frames.
        endpoint: of the detector of end points, in the time of the open utterance.
        held: (1, N) whole frames that may become pre-roll, and the frame that is not full yet.
        position: how much has been judged.
        heard_until: where the last utterance ended.
        onset: frames of speech in a row, outside of an utterance.
        is_open: whether there is an open utterance.
    """

    offset: Tensor
    vad: VadState
    endpoint: EndpointState
    held: Tensor
    position: int = 0
    heard_until: int = 0
    onset: int = 0
    is_open: bool = False


class SpeechGate:
    """Lets utterances through, and nothing else; obeys the Streaming contract for one stream.

    Its actions do not depend on how the stream is cut, but for sounds in a row, which may come as
    one or several.

    Attributes:
        config: the rules.
        sample_rate: Hz of the sound that `step` takes.
        frame_size: samples that are judged together.
        lookahead: samples needed beyond them: none.
    """

    sample_rate: int = SAMPLE_RATE
    frame_size: int = FRAME_SIZE
    lookahead: int = 0

    def __init__(
        self, config: GateConfig | None = None, *, vad: SileroVad | VadEngine | None = None
    ) -> None:
        """Prepare a gate.

        Args:
            config: the rules.
            vad: the voice activity detector, on the CPU, or what judges for many gates at once;
                None: the installed one.
        """
        self.config = GateConfig() if config is None else config
        if not isinstance(vad, VadEngine):
            installed = SileroVad.from_installed if self.config.enabled else SileroVad
            vad = VadEngine(installed() if vad is None else vad)
        self._engine = vad
        self._detector = EndpointDetector(self.config.endpoint)
        self._preroll = math.ceil(self.config.preroll_seconds * SAMPLE_RATE / FRAME_SIZE)

    def initial_state(
        self,
        batch_size: int = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> GateState:
        """Return the state before the first sample.

        Raises:
            ValueError: for more than one stream: they would not open together.
        """
        if batch_size != 1:
            raise ValueError(f"batch_size is {batch_size}, expected 1: give each stream a state")
        vad = self._engine.vad.initial_state(1, device=device, dtype=dtype)
        offset = vad.pending.new_zeros(1, 1)
        return GateState(offset, vad, self._detector.initial_state(), vad.pending)

    def step(self, state: GateState, wav: Tensor) -> tuple[GateState, list[GateAction]]:
        """Take more of the stream.

        Args:
            state: what `initial_state` or the step before returned; left unchanged.
            wav: (1, T) at 16 kHz, any T >= 0.

        Returns:
            The new state, and what became known about utterances, in order.

        Raises:
            ValueError: when the sound is not that of one mono stream.
        """
        return alone(self.stepping(state, wav))

    def stepping(self, state: GateState, wav: Tensor) -> Work[tuple[GateState, list[GateAction]]]:
        """`step` as work that may have company."""
        if wav.dim() != 2 or wav.shape[0] != 1:
            raise ValueError(f"wav has shape {tuple(wav.shape)}, expected (1, T): mix it to mono")
        if not self.config.enabled:
            return _pass_on(state, wav)
        sound = torch.cat([state.held, wav], dim=1)
        first = state.position - state.held.shape[1] // FRAME_SIZE * FRAME_SIZE
        return (yield from self._judge_all(state, sound, first, first + sound.shape[1]))

    def finish(self, state: GateState) -> tuple[GateState, list[GateAction]]:
        """End the stream, and the utterance that is open.

        Returns:
            The state of a stream that has not begun, and the last actions.
        """
        return alone(self.finishing(state))

    def finishing(self, state: GateState) -> Work[tuple[GateState, list[GateAction]]]:
        """`finish` as work that may have company."""
        actions: list[GateAction] = []
        rest = state.held.shape[1] % FRAME_SIZE
        end = state.position + rest
        if rest:
            full = torch.cat([state.held, state.held.new_zeros(1, FRAME_SIZE - rest)], dim=1)
            first = end - state.held.shape[1]
            state, actions = yield from self._judge_all(state, full, first, end)
        if state.is_open:
            actions = [*actions, Ended(end, None)]
        device, dtype = state.held.device, state.held.dtype
        return self.initial_state(device=device, dtype=dtype), actions

    def _judge_all(
        self, state: GateState, sound: Tensor, first: int, end: int
    ) -> Work[tuple[GateState, list[GateAction]]]:
        """Judge the full frames of `sound`, which begins at `first`; the stream is up to `end`."""
        actions: list[GateAction] = []
        begin = state.position  # of the sound that the open utterance has not been given

        def give(until: int) -> None:
            if until > begin:
                actions.append(Sound(sound[:, begin - first : until - first].clone()))

        while state.position + FRAME_SIZE <= first + sound.shape[1]:
            at = state.position - first
            state, change = yield from self._judge(state, sound[:, at : at + FRAME_SIZE], end)
            if isinstance(change, Opened):
                begin = change.start
                actions.append(change)
            elif change is not None:
                give(change.end)
                actions.append(change)
        if state.is_open:
            give(min(state.position, end))
        kept = state.position if state.is_open else max(state.heard_until, self._reach(state))
        return replace(state, held=sound[:, kept - first :].clone()), actions

    def _reach(self, state: GateState) -> int:
        """Return from where on an utterance may begin that has not opened yet."""
        frames = self._preroll + self.config.onset_frames - 1
        return max(0, state.position - frames * FRAME_SIZE)

    def _listen(self, state: GateState, frame: Tensor) -> Work[tuple[Tensor, Judged]]:
        """Return the direct current, and what the detector makes of the rest.

        Direct current, which cheap microphones add, makes the detector deaf to soft speech: speech
        at -60 dB beside 0.2 is not found at all, and is without it.
        """
        mean = frame.mean(dim=1, keepdim=True)
        offset = mean if state.position == 0 else state.offset.lerp(mean, _OFFSET_RATE)
        judged = yield Ask(self._engine, Frame(state.vad, frame - offset))
        return offset, judged

    def _judge(
        self, state: GateState, frame: Tensor, end: int
    ) -> Work[tuple[GateState, Opened | Ended | None]]:
        """Take one frame; `end` is that of the stream, where the last frame is not full."""
        offset, (vad, probability) = yield from self._listen(state, frame)
        now, endpoint, heard_until = state.position + FRAME_SIZE, state.endpoint, state.heard_until
        onset, is_open, change = 0, state.is_open, None
        if is_open:
            endpoint, found = self._detector.step(endpoint, [probability])
            if found:
                heard_until, is_open, change = now, False, Ended(min(now, end), found[0].rule)
        elif probability >= self.config.threshold:
            onset = state.onset + 1
            if onset >= self.config.onset_frames:
                start = max(heard_until, now - (self._preroll + onset) * FRAME_SIZE, 0)
                # The utterance has its own time; it begins with speech: silence is not running.
                frames = (now - start) // FRAME_SIZE
                endpoint = EndpointState(frames, silence_start=None, said=True)
                onset, is_open, change = 0, True, Opened(start, min(now, end))
        after = GateState(offset, vad, endpoint, state.held, now, heard_until, onset, is_open)
        return after, change


def _pass_on(state: GateState, wav: Tensor) -> tuple[GateState, list[GateAction]]:
    if wav.shape[1] == 0:
        return state, []
    opened = [] if state.is_open else [Opened(0, 0)]
    state = replace(state, position=state.position + wav.shape[1], is_open=True)
    return state, [*opened, Sound(wav.clone())]
