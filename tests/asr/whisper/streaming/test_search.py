"""Checking the last hypothesis and going on from it is decoding anew, only cheaper."""

import functools
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
import torch
from random_whisper import random_whisper
from read_one import read_one
from speech_data import novel, tiny_en
from torch import Tensor

from echoic.asr.whisper.model import WhisperModel
from echoic.asr.whisper.streaming.blocks import Blocks
from echoic.asr.whisper.streaming.causal import CausalWhisper
from echoic.asr.whisper.streaming.config import CausalConfig
from echoic.asr.whisper.streaming.decoder import Part, Past, hear, no_past
from echoic.asr.whisper.streaming.engines import Engines
from echoic.asr.whisper.streaming.saying import tail_rules
from echoic.asr.whisper.streaming.search import Keep, Tail, TailRules, TailSearch
from echoic.asr.whisper.streaming.tail_beam import Ending, beam_tail
from echoic.streaming.work import alone

START = [50257, 50362]
WORDS: tuple[int, ...] = (
    290,
    11,
    262,
    13,
    900,
    2000,
)  # two of them, "," and ".", go on with the word before
END = 50256


@functools.cache
def few_words(words: tuple[int, ...] = WORDS) -> TailRules:
    """Rules under which a random model says but a few words, and soon comes to an end."""
    model = random_whisper()
    size = model.config.vocab_size
    never = torch.full((size,), -torch.inf)
    never[[*words, END]] = 0.0
    return TailRules(never, tail_rules(model, "en").joins, END)


def search(keep: Keep = "likeliest", rules: TailRules | None = None) -> TailSearch:
    model = random_whisper()
    return TailSearch(Engines.of(model).read, rules or few_words(), keep=keep)


@dataclass(frozen=True)
class Moment:
    """A frozen text and a sound."""

    frozen: list[int]
    past: Past
    sound: Past

    @property
    def fed(self) -> list[int]:
        return [*START, *self.frozen][self.past[0].length :]


@torch.inference_mode()
def moment(seed: int) -> Moment:
    """The trunk holds all of the frozen text but its last token, computed with less sound."""
    rng, model = random.Random(seed), random_whisper()
    generator = torch.Generator().manual_seed(seed)
    encoded = torch.randn(1, rng.randint(5, 60), 16, generator=generator)
    frozen = rng.choices(WORDS, k=rng.randint(0, 5))
    (early,) = hear(model.decoder, [no_past(model.decoder)], [encoded[:, :5]])
    past = no_past(model.decoder)
    if frozen:
        ids = torch.tensor([[*START, *frozen][:-1]])
        past = read_one(model.decoder, Part(ids, past, early), ((1, 0),)).past
    (sound,) = hear(model.decoder, [early], [encoded[:, 5:]])
    return Moment(frozen, past, sound)


@torch.inference_mode()
def plain_greedy(
    model: WhisperModel,
    rules: TailRules,
    fed: Sequence[int],
    past: Past,
    sound: Past,
    *,
    sealed: bool,
    longest: int,
) -> list[int]:
    """Say token after token, each time reading everything behind the trunk again."""
    said: list[int] = []
    while len(said) < longest:
        ids = torch.tensor([[*fed, *said]])
        hidden = read_one(model.decoder, Part(ids, past, sound), ((1, 0),)).hidden[0, -1]
        scores = model.decoder.logits(hidden) + rules.never
        if sealed and not said:
            scores[rules.joins] = -torch.inf
        if int(scores.argmax()) == rules.end:
            break
        said.append(int(scores.argmax()))
    return said


@torch.inference_mode()
def find(
    tail_search: TailSearch,
    at: Moment,
    draft: Sequence[int],
    scores: Sequence[float],
    *,
    sealed: bool = False,
    budget: int = 12,
    trusted: bool = False,
) -> Tail:
    work = tail_search(
        at.fed,
        draft,
        scores,
        at.past,
        at.sound,
        sealed=sealed,
        budget=budget,
        trusted=trusted,
    )
    return alone(work)


def drafts(expected: list[int], rng: random.Random) -> list[list[int]]:
    """The answer, its beginnings, what goes wrong in the middle, and what is all wrong."""
    wrong = rng.choices(WORDS, k=4)
    middle = len(expected) // 2
    return [[], expected, expected[:middle], [*expected[:middle], *wrong], wrong, [*expected, 290]]


@pytest.mark.parametrize("seed", range(12))
def test_any_draft_leads_to_what_plain_greedy_decoding_says(seed: int) -> None:
    at, rng, model = moment(seed), random.Random(seed), random_whisper()
    sealed = bool(seed % 2)
    expected = plain_greedy(
        model, few_words(), at.fed, at.past, at.sound, sealed=sealed, longest=20
    )
    for draft in drafts(expected, rng):
        found = find(search(), at, draft, [0.0] * len(draft), sealed=sealed)
        agreed = next(
            (i for i, (a, b) in enumerate(zip(draft, expected, strict=False)) if a != b),
            min(len(draft), len(expected)),
        )
        assert found.checked == agreed
        assert found.tokens == expected[: agreed + 12]
        assert found.passes == 1 + len(found.tokens) - agreed
        length = len(START) + len(at.frozen) + len(found.tokens)
        assert [p.length for p in found.past] == [length] * 2
        assert found.attention.shape[1] == len(found.tokens) + 1


def test_some_random_tails_are_long_and_some_empty() -> None:
    lengths = [len(find(search(), moment(seed), [], []).tokens) for seed in range(12)]
    assert min(lengths) == 0
    assert max(lengths) > 4


@pytest.mark.parametrize("keep", ["likeliest", "not_falling"])
def test_what_a_tail_knows_of_its_tokens(keep: Keep) -> None:
    at = moment(3)
    found = find(search(keep), at, [], [])
    ids = torch.tensor([[*at.fed, *found.tokens]])
    with torch.inference_mode():
        whole = read_one(
            random_whisper().decoder, Part(ids, at.past, at.sound), search().engine.heads
        )
        rows = random_whisper().decoder.logits(whole.hidden[0, len(at.fed) - 1 :])
        rows = rows + few_words().never
    chosen = torch.tensor([*found.tokens, END])[:, None]
    logprobs = rows.log_softmax(-1).gather(1, chosen)[:, 0]
    said = torch.tensor(found.scores)
    torch.testing.assert_close(said, rows[:-1].gather(1, chosen[:-1])[:, 0], rtol=1e-4, atol=1e-4)
    likely = torch.tensor(found.probabilities)
    torch.testing.assert_close(likely, logprobs[:-1].exp(), rtol=1e-3, atol=1e-4)
    assert found.mean_logprob == pytest.approx(float(logprobs.mean()), rel=1e-3)
    torch.testing.assert_close(
        found.attention, whole.attention[0, :, len(at.fed) - 1 :], rtol=1e-3, atol=1e-4
    )


def check_the_papers_rule(seed: int) -> int:
    at, rng = moment(seed), random.Random(seed)
    draft = rng.choices(WORDS, k=6)
    ids = torch.tensor([[*at.fed, *draft]])
    with torch.inference_mode():
        part = Part(ids, at.past, at.sound)
        hidden = read_one(random_whisper().decoder, part, ((1, 0),)).hidden[0]
        rows = random_whisper().decoder.logits(hidden[len(at.fed) - 1 :]) + few_words().never
    now = [float(row[token]) for row, token in zip(rows, draft, strict=False)]
    before = [score + rng.choice([-1.0, -0.1, -0.1, 0.1]) for score in now]
    kept = 0
    for row, token, old in zip(rows, draft, before, strict=False):
        if int(row.argmax()) != token and float(row[token]) < old:
            break
        kept += 1
    found = find(search("not_falling"), at, draft, before)
    assert found.checked == kept
    assert found.tokens[:kept] == draft[:kept]
    rest = Moment([*at.frozen, *draft[:kept]], at.past, at.sound)
    expected = plain_greedy(
        random_whisper(), few_words(), rest.fed, at.past, at.sound, sealed=False, longest=12
    )
    assert found.tokens[kept:] == expected
    return kept


def test_the_papers_rule_keeps_what_did_not_fall() -> None:
    """A token stays while it is the likeliest, or its score is at least that of the block before;
    at the first one that is neither, greedy decoding takes over."""
    kept = [check_the_papers_rule(seed) for seed in range(12)]
    assert {0, 6} < set(kept)


def test_a_sealed_word_is_not_gone_on_with() -> None:
    joins = (0, 11, 12, 13, 25, 30)  # marks
    rules = few_words((*joins, 262, 290))
    assert [bool(rules.joins[i]) for i in (*joins, 262, 290)] == [True] * 6 + [False] * 2
    by_rules = search(rules=rules)
    opened = [find(by_rules, moment(seed), [], []).tokens[:1] for seed in range(40)]
    sealed = [find(by_rules, moment(seed), [], [], sealed=True).tokens for seed in range(40)]
    assert any(first and first[0] in joins for first in opened)
    assert not any(tokens and tokens[0] in joins for tokens in sealed)
    assert any(set(tokens[1:]) & set(joins) for tokens in sealed)
    # Nor where the draft does so.
    draft = find(by_rules, moment(0), [13, 290], [0.0, 0.0], sealed=True)
    assert draft.checked == 0


def test_a_budget_bounds_what_is_new() -> None:
    long = next(s for s in range(40) if len(find(search(), moment(s), [], []).tokens) > 6)
    whole = find(search(), moment(long), [], []).tokens
    assert find(search(), moment(long), [], [], budget=2).tokens == whole[:2]
    draft, scores = whole[:3], [0.0] * 3
    assert find(search(), moment(long), draft, scores, budget=2).tokens == whole[:5]
    assert find(search(), moment(long), draft, scores, budget=0).tokens == whole[:3]


def test_a_trusted_draft_stays_as_it_is() -> None:
    draft = [2000, 13, 13, 290]
    found = find(search(), moment(1), draft, [0.0] * 4, budget=0, trusted=True)
    assert found.tokens == draft
    assert found.passes == 1


def all_endings(at: Moment, rules: TailRules, words: Sequence[int], longest: int) -> list[Ending]:
    """Every tail of at most so many tokens, with its score: brute force."""
    found = []
    for length in range(longest + 1):
        for tokens in itertools.product(words, repeat=length):
            tail = find(search(rules=rules), at, tokens, [0.0] * length, budget=0, trusted=True)
            found.append(Ending(list(tokens), tail.mean_logprob))
    return found


@torch.inference_mode()
def beam(at: Moment, rules: TailRules, size: int, budget: int) -> Ending | None:
    work = beam_tail(
        search(rules=rules),
        at.fed,
        at.past,
        at.sound,
        beam_size=size,
        sealed=False,
        budget=budget,
    )
    return alone(work)


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_the_best_of_all_tails(seed: int) -> None:
    words = WORDS[:3]
    at, rules = moment(seed), few_words(words)
    best = max(all_endings(at, rules, words, 3), key=lambda ending: ending.mean_logprob)
    found = beam(at, rules, 40, 3)
    assert found is not None
    assert found.tokens == best.tokens
    assert found.mean_logprob == pytest.approx(best.mean_logprob, abs=1e-3)


def test_a_beam_of_one_is_greedy() -> None:
    for seed in range(12):
        at = moment(seed)
        greedy = find(search(), at, [], [])
        found = beam(at, few_words(), 1, 12)
        if len(greedy.tokens) < 12:
            assert found is not None
            assert found.tokens == greedy.tokens
            assert found.mean_logprob == pytest.approx(greedy.mean_logprob, abs=1e-3)


def test_a_beam_whose_tails_are_all_too_long_says_so() -> None:
    endless = few_words()._replace(never=few_words().never.clone())
    endless.never[END] = -torch.inf
    assert beam(moment(0), endless, 3, 4) is None


def test_the_score_of_a_beams_tail_holds_its_last_token_and_its_end() -> None:
    """Upstream forgets the last token's log-probability."""
    for seed, size in itertools.product(range(6), (2, 4)):
        at = moment(seed)
        found = beam(at, few_words(), size, 12)
        assert found is not None
        again = find(search(), at, found.tokens, [0.0] * 12, budget=0, trusted=True)
        assert found.mean_logprob == pytest.approx(again.mean_logprob, abs=1e-3)


class Checked(CausalWhisper):
    """Compares every block's tail with plain greedy decoding."""

    compared = 0

    def __init__(self, model: WhisperModel, config: CausalConfig) -> None:
        super().__init__(model, config)
        speaker = self._speaker
        searching = speaker._searching

        def checked(text, window):
            tail = yield from searching(text, window)
            expected = plain_greedy(
                model,
                speaker.rules,
                [*speaker.prompt, *text.frozen.ids][text.trunk[0].length :],
                text.trunk,
                window.sound,
                sealed=text.sealed,
                longest=len(tail.tokens) + 1,
            )
            if len(expected) > len(tail.tokens):
                assert len(tail.tokens) - tail.checked == speaker._budget(text, window)
            assert tail.tokens == expected[: len(tail.tokens)]
            self.compared += bool(tail.checked) and len(tail.tokens) > tail.checked
            return tail

        speaker._searching = checked


def test_on_real_speech_the_tail_is_what_plain_greedy_decoding_says() -> None:
    recognizer = Checked(tiny_en(), CausalConfig(Blocks(30)))
    _, events = recognizer.step(recognizer.initial_state(), novel()[1].wav[None, :40_000])
    assert len(events) > 3
    assert recognizer.compared > 1


@pytest.mark.parametrize("model", [tiny_en, random_whisper])
def test_what_is_never_said_never_is(model) -> None:
    model = model()
    rules = tail_rules(model, "en")
    tokenizer = model.tokenizer
    never = set(rules.never.isinf().nonzero()[:, 0].tolist())
    assert set(model.generation.suppress_tokens) <= never
    assert set(range(tokenizer.eot + 1, model.config.vocab_size)) <= never
    assert tokenizer.eot not in never
    assert {*tokenizer.encode(" "), *tokenizer.encode("\n"), tokenizer.encode(" [")[0]} <= never
    assert not {*tokenizer.encode(" Hello, world. It's 5!")} & never


def test_rules_that_forbid_the_likeliest_are_kept() -> None:
    said: set[int] = set()
    rules = tail_rules(random_whisper(), "en")
    for seed in range(5):
        tokens = find(search(rules=rules), moment(seed), [], []).tokens
        said.update(tokens)
        forbidden = rules._replace(never=rules.never.clone())
        forbidden.never[tokens] = -torch.inf
        again = find(search(rules=forbidden), moment(seed), tokens, [99.0] * len(tokens))
        assert not set(again.tokens) & set(tokens)
    assert said


def scores_of(seed: int) -> Tensor:
    return torch.tensor(find(search(), moment(seed), [], []).scores)


def test_moments_differ() -> None:
    assert not any(torch.equal(scores_of(0), scores_of(seed)) for seed in range(1, 5))
