"""Whether another stream fits: what streams cost is measured while they run.

The time of a round of work is taken as `a + b * s` for s seconds of speech in it, and a and b are
fitted to the last rounds: a batch of many costs less than so many alone, so the share of the
processor that few streams take says little about how many fit.
"""

from dataclasses import dataclass

# Rounds count half after so many.
_HALF_LIFE = 100
# As long as there are fewer rounds with speech in them, streams are admitted on trial.
_FEW_ROUNDS = 8


@dataclass(slots=True)
class Costs:
    """A fit of a line to rounds of work, the last ones weighing most.

    Attributes:
        rounds: with speech in them, that were seen.
    """

    rounds: int = 0
    _n: float = 0.0
    _s: float = 0.0
    _t: float = 0.0
    _ss: float = 0.0
    _st: float = 0.0

    def add(self, speech: float, spent: float) -> None:
        """Take a round: seconds of speech that were heard in it, and how long it took."""
        if not speech:
            return
        self.rounds += 1
        fade = 0.5 ** (1 / _HALF_LIFE)
        self._n = fade * self._n + 1
        self._s = fade * self._s + speech
        self._t = fade * self._t + spent
        self._ss = fade * self._ss + speech * speech
        self._st = fade * self._st + speech * spent

    def line(self) -> tuple[float, float]:
        """Return a and b; the mean rate where all rounds were alike, so that b tells too much."""
        if not self._s:
            return 0.0, 0.0
        spread = self._n * self._ss - self._s**2
        rate = self._t / self._s
        if spread <= 1e-3 * self._s**2:
            return 0.0, rate
        b = min(max((self._n * self._st - self._s * self._t) / spread, 0.0), rate)
        return (self._t - b * self._s) / self._n, b


@dataclass(frozen=True, slots=True)
class AdmissionConfig:
    """When a scheduler takes another stream.

    Attributes:
        max_streams: at most so many.
        trial_streams: so many are taken before it is known what they cost.
        most_load: share of the time that work may take, by the line through what was measured. The
            rest is for sockets, and for what many streams cost beyond the line.
        round_seconds: sound of a stream that a round of a full scheduler hears.
        max_state_bytes: of memory for the states of all streams.
    """

    max_streams: int = 256
    trial_streams: int = 4
    most_load: float = 0.5
    round_seconds: float = 0.32
    max_state_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        for name in ("max_streams", "trial_streams", "max_state_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 1 or more")
        if not self.most_load > 0:
            raise ValueError(f"most_load is {self.most_load}: expected more than 0")
        if not self.round_seconds > 0:
            raise ValueError(f"round_seconds is {self.round_seconds}: expected more than 0")


class Admission:
    """Counts what streams cost, and says how many fit.

    Attributes:
        config: the limits.
        costs: of rounds.
        largest_state: bytes of the largest state seen.
    """

    def __init__(self, config: AdmissionConfig) -> None:
        self.config = config
        self.costs = Costs()
        self.largest_state = 0

    def room(self) -> int:
        """Return how many streams fit, all of them speaking."""
        config = self.config
        most = config.max_streams
        if self.largest_state:
            most = min(most, max(1, config.max_state_bytes // self.largest_state))
        if self.costs.rounds < _FEW_ROUNDS:
            return min(most, config.trial_streams)
        a, b = self.costs.line()
        free = config.most_load - a / config.round_seconds
        return min(most, max(1, int(free / b))) if b > 0 else most
