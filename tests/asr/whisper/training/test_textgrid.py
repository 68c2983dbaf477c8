"""Words of a forced aligner on the words of a text, and TextGrids as aligners write them."""

from pathlib import Path

import pytest
import torch
from grids import write_grid
from speech_data import novel, tiny_en

from echoic.asr.whisper.training.alignment import TextAligner
from echoic.asr.whisper.training.textgrid import (
    TimedWord,
    find_textgrids,
    read_textgrid,
    spans_of,
)


def test_words_are_read_without_pauses(tmp_path: Path) -> None:
    words = [(0.2, 0.5, "HELLO"), (0.5, 0.7, "<eps>"), (0.7, 1.0, "sil"), (1.0, 1.4, "there")]
    path = write_grid(tmp_path / "a.TextGrid", words)
    assert read_textgrid(path) == [TimedWord("HELLO", 0.2, 0.5), TimedWord("there", 1.0, 1.4)]
    assert read_textgrid(write_grid(tmp_path / "b.TextGrid", words, "Word"))[0].text == "HELLO"


def test_files_are_found_by_the_recordings_name(tmp_path: Path) -> None:
    (tmp_path / "84").mkdir()
    path = write_grid(tmp_path / "84" / "84-1-0001.TextGrid", [(0.0, 0.3, "a")])
    assert find_textgrids(tmp_path) == {"84-1-0001": path}
    write_grid(tmp_path / "84-1-0001.textgrid", [(0.0, 0.3, "a")])
    with pytest.raises(ValueError, match="have one name"):
        find_textgrids(tmp_path)
    with pytest.raises(ValueError, match="no TextGrid"):
        find_textgrids(tmp_path / "84" / "84-1-0001.TextGrid")


@pytest.mark.parametrize(
    ("text", "message"),
    [("no grid at all", "cannot be read as a TextGrid"), ("", "cannot be read as a TextGrid")],
)
def test_what_is_none_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.TextGrid"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_textgrid(path)


def test_a_grid_without_words_is_refused(tmp_path: Path) -> None:
    path = write_grid(tmp_path / "a.TextGrid", [(0.0, 0.3, "a")], name="speaker")
    with pytest.raises(ValueError, match="no tier of words in intervals; it has phones, speaker"):
        read_textgrid(path)


def test_times_of_words_cut_in_another_way() -> None:
    timed = [
        TimedWord("TWENTY", 1.0, 1.6),
        TimedWord("ONE", 1.6, 1.9),
        TimedWord("DON'T", 2.0, 2.4),
    ]
    spans = spans_of([" Twenty-one", ",", " do", "n't", "."], [TimedWord(*word) for word in timed])
    assert spans is not None
    flat = [time for span in spans for time in span]
    assert flat == pytest.approx([1.0, 1.9, 1.9, 1.9, 2.0, 2.2, 2.2, 2.4, 2.4, 2.4])


def test_other_words_have_no_times() -> None:
    assert spans_of([" twenty"], [TimedWord("twelve", 0.0, 1.0)]) is None
    assert spans_of([" one", " two"], [TimedWord("one", 0.0, 1.0)]) is None


def test_the_aligner_believes_the_grid_where_it_has_the_words() -> None:
    utterance = novel()[4]
    words = utterance.text.split()
    timed = [TimedWord(word, 0.1 * n, 0.1 * n + 0.1) for n, word in enumerate(words)]
    aligner = TextAligner(tiny_en(), num_teacher=2)
    forced = aligner(utterance.wav, utterance.text.capitalize(), timed)
    assert forced.forced
    assert forced.word_of[-1] + 1 == len(words)
    assert forced.ends[-1] == pytest.approx(0.1 * len(words))
    attended = aligner(utterance.wav, utterance.text.capitalize(), timed[1:])
    assert not attended.forced
    assert attended.tokens == forced.tokens
    assert torch.equal(attended.teacher_ids, forced.teacher_ids)
    assert attended.ends != forced.ends
