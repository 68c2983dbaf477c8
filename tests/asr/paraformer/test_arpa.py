"""N-grams of ARPA files: scores by definition, what our own say once written so, broken files."""

import gzip
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from echoic.asr.paraformer.arpa import is_arpa, read_arpa
from echoic.asr.paraformer.ngrams import NOTHING, Ngrams

WORDS = ("<blank>", "<s>", "</s>", "a", "b", "@@c", "\u2581d", "<unk>")
IDS = {word: i for i, word in enumerate(WORDS)}
SIZE = len(WORDS)

FILE = """\
made by hand

\\data\\
ngram 1=8
ngram 2=7
ngram 3=3

\\1-grams:
-99\t<s>\t-0.5
-1.1\t</s>
-0.6\ta\t-0.4
-0.9\tb\t-0.3
-1.2\t@@c\t-0.2
-1.9\tnot a token
-2.5\t<unk>
-1.7\telsewhere\t-0.7

\\2-grams:
-0.3\t<s> a\t-0.15
-0.8\ta b\t-0.25
-0.4\ta a
-0.5  b  @@c  -0.35
-0.2\tb </s>
-0.7\telsewhere a\t-0.1
-1.3\t<unk> b\t-0.05

\\3-grams:
-0.1\t<s> a b
-0.45\ta b @@c
-0.05\ta b </s>

\\end\\
""".replace("-1.9\tnot a token\n", "-1.9\tother\n")


def scored(context: tuple[str, ...], word: str) -> float:
    """The decimal logarithm of a word's share behind others, read off the file's lines."""
    scores: dict[tuple[str, ...], float] = {}
    backoffs: dict[tuple[str, ...], float] = {}
    for line in FILE.splitlines():
        fields = line.split()
        words = tuple(field for field in fields[1:] if not _is_number(field))
        if fields and _is_number(fields[0]):
            scores[words] = float(fields[0])
            backoffs[words] = float(fields[-1]) if _is_number(fields[-1]) and len(fields) > 2 else 0

    def of(context: tuple[str, ...]) -> float:
        if (*context, word) in scores:
            return scores[*context, word]
        if not context:
            return scores["<unk>",]
        return backoffs.get(context, 0.0) + of(context[1:])

    return of(context)


def _is_number(text: str) -> bool:
    return text.startswith("-")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "small.arpa"
    path.write_text(FILE)
    return path


def test_scores_are_the_files(path: Path):
    ngrams, known = read_arpa(path, IDS)
    assert (known, ngrams.order, ngrams.size) == (4, 3, SIZE)
    heard = ("a", "b", "@@c", "\u2581d", "<unk>")
    tokens = np.array([[IDS[word] for word in heard]])
    pairs = [(x, y) for x in ("<s>", *heard) for y in heard]
    for context in [*pairs, ("<s>",), ("a",)]:
        ids = [SIZE if word == "<s>" else IDS[word] for word in context]
        padded = np.array([[NOTHING] * (2 - len(ids)) + ids])
        want = [math.log(10) * scored(context, word) for word in heard]
        assert ngrams(padded, tokens)[0].tolist() == pytest.approx(want, abs=1e-5), context


def test_scores_are_kenlms(path: Path):
    kenlm = pytest.importorskip("kenlm", reason="the rival is not installed")
    # It takes no words in front and no other spaces.
    path.write_text(FILE[FILE.index("\\data") :].replace("-0.5  b  @@c  -0", "-0.5\tb @@c\t-0"))
    theirs = kenlm.Model(str(path))
    ngrams = read_arpa(path, IDS).ngrams
    words = ["a", "b", "@@c", "a", "a", "b", "<unk>", "b", "@@c", "<unk>", "b", "a"]
    ids = np.array([IDS[word] for word in words])
    said = np.concatenate([ngrams.start(1)[0], ids])
    places = np.lib.stride_tricks.sliding_window_view(said, 2)[:-1]
    want = [score for score, _, _ in theirs.full_scores(" ".join(words), eos=False)]
    found = ngrams(places, ids[:, None])[:, 0] / math.log(10)
    assert found.tolist() == pytest.approx(want, abs=1e-5)


def test_packed_and_shortened(path: Path, tmp_path: Path):
    packed = tmp_path / "small.arpa.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    whole, again = read_arpa(path, IDS).ngrams, read_arpa(packed, IDS).ngrams
    for one, other in zip(whole.levels, again.levels, strict=True):
        assert all(map(np.array_equal, one, other))
    short = read_arpa(path, IDS, order=2).ngrams
    assert short.order == 2
    assert np.array_equal(short.levels[1].scores, whole.levels[1].scores)
    assert not short.levels[1].backoffs.any()
    assert is_arpa(str(packed))
    assert not is_arpa("small.arpa.txt")


def written(model: Ngrams) -> Iterable[str]:
    """Lines of an ARPA file of a model."""
    base, names = model.size + 1, {**dict(enumerate(WORDS)), model.size: "<s>"}
    yield "\\data\\"
    for n, level in enumerate(model.levels, start=1):
        yield f"ngram {n}={len(level.keys) - (2 if n == 1 else 0)}"
    for n, level in enumerate(model.levels, start=1):
        yield f"\\{n}-grams:"
        for key, score, backoff in zip(*(values.tolist() for values in level), strict=True):
            digits = [key // base**k % base for k in range(n - 1, -1, -1)]
            if n > 1 or digits[0] not in (IDS["<s>"], IDS["</s>"]):
                told = " ".join(names[d] for d in digits)
                yield f"{score / math.log(10):.7f}\t{told}\t{backoff / math.log(10):.7f}"
    yield "\\end\\"


def test_our_own_come_back(tmp_path: Path):
    said = [[3, 4, 5, 3, 4, 6], [4, 3, 7], [5, 3, 4], [3, 4, 5], [6, 6]] * 3
    model = Ngrams.count(said, SIZE, (1, 1, 2))
    path = tmp_path / "own.arpa"
    path.write_text("\n".join(written(model)))
    again = read_arpa(path, IDS).ngrams
    context = np.array([(x, y) for x in (3, 4, 5, 6, 7, SIZE) for y in range(3, 8)])
    tokens = np.tile(np.arange(3, 8), (len(context), 1))
    np.testing.assert_allclose(again(context, tokens), model(context, tokens), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("\\data\\", "\\dato\\", "the file ends before"),
        ("ngram 2=7\n", "", "no ARPA file"),
        ("ngram 2=7", "ngram 2=6", r"expected \3-grams:"),
        ("ngram 3=3", "ngram 3=2", r"expected \end\, found"),
        ("\\end\\", "", "the file ends before"),
        ("-0.4\ta a", "x\ta a", "line 21: expected a finite number, found 'x'"),
        ("-0.4\ta a", "nan\ta a", "expected a finite number, found 'nan'"),
        ("-0.4\ta a", "-0.4\ta a a a", "expected a number, 2 words and perhaps a number"),
        ("-0.4\ta a", "-0.4\ta b", "an n-gram of 2 words is there twice"),
        ("-0.1\t<s> a b", "-0.1\t<s> b b", "an n-gram of 3 words goes on from one"),
    ],
)
def test_broken_files_are_one_line(path: Path, before: str, after: str, told: str):
    assert before in FILE
    path.write_text(FILE.replace(before, after, 1))
    with pytest.raises(ValueError, match=r"small\.arpa, line \d+: ") as caught:
        read_arpa(path, IDS)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_files_are_named(path: Path, tmp_path: Path):
    others = {word: i for i, word in enumerate([*WORDS[:3], *(f"w{n}" for n in range(6))])}
    with pytest.raises(ValueError, match=r"small\.arpa has 0 of the model's 9 .* as 'w0'"):
        read_arpa(path, others)
    many = IDS | {f"t{n}": SIZE + n for n in range(3_000_000)}
    with pytest.raises(ValueError, match=r"n-grams of 3, too many for .* up to --order 2"):
        read_arpa(path, many)
    with pytest.raises(ValueError, match="order is 0"):
        read_arpa(path, IDS, 0)
    packed = gzip.compress(FILE.encode())
    damaged = packed[:40] + bytes(20) + packed[60:]
    for name, content in (
        ("a.arpa.gz", b"no gzip"),
        ("b.arpa", b"\xff\xfe"),
        ("c.arpa.gz", packed[:-30]),
        ("d.arpa.gz", damaged),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is damaged or no ARPA file"):
            read_arpa(tmp_path / name, IDS)
    with pytest.raises(OSError, match=r"none\.arpa"):
        read_arpa(tmp_path / "none.arpa", IDS)
