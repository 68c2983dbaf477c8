"""Captions on a terminal emulator: what is seen is what was said, whatever came before."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_terminal import Terminal, captions, endpoint, final, partial

from echoic.asr.live.screen import reflows
from echoic.streaming.events import Event

LONG = "and mister john dashwood had then leisure to consider how much there might be"

TEXT = st.lists(st.text("abcdefg,.", min_size=1, max_size=9), min_size=1, max_size=12)
STEPS = st.lists(st.tuples(st.sampled_from(["partial", "final", "endpoint"]), TEXT), max_size=25)


def wrapped(text: str, columns: int) -> list[str]:
    return textwrap.wrap(text, columns - 1, break_on_hyphens=False)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(20, 60), st.integers(9, 14))
def test_the_screen_is_what_textwrap_makes_of_the_paragraphs(steps, columns: int, lines: int):
    terminal = Terminal(columns, lines)
    shown = captions(terminal)
    done: list[str] = []
    closed, opened = "", []
    for kind, texts in steps:
        text = " ".join(texts)
        if kind == "partial":
            shown.show(partial(text, stable=len(texts) // 2))
            opened = texts
        elif kind == "final":
            shown.show(final(text))
            closed, opened = f"{closed} {text}".strip(), opened[len(texts) :]
        else:
            shown.show(endpoint())
            done, closed, opened = [*done, *wrapped(closed, columns)], "", []
        live = wrapped(" ".join([closed, *opened]).strip(), columns)
        assert terminal.rows() == [*done, *(live or [""])]
    shown.close()
    assert terminal.rows() == [*done, *wrapped(closed, columns), ""]
    assert (terminal.screen.cursor.x, terminal.dim()) == (0, "")


def test_open_words_are_dim_until_they_are_stable():
    terminal = Terminal()
    shown = captions(terminal)
    shown.show(partial("he was"))
    assert terminal.dim() == "he was"
    shown.show(partial("he was not an", stable=2))
    assert terminal.dim() == "not an"
    shown.show(final("he was"))
    assert terminal.rows() == ["he was not an"]
    assert terminal.dim() == "not an"
    shown.show(final("not an ill"))
    assert (terminal.rows(), terminal.dim()) == (["he was not an ill"], "")


def test_only_what_changed_is_drawn():
    terminal = Terminal(40)
    shown = captions(terminal)
    shown.show(partial(LONG, stable=8))
    terminal.written.clear()
    shown.show(partial(LONG, stable=8))
    assert terminal.written == []
    shown.show(partial(f"{LONG} a", stable=8))
    (added,) = terminal.written
    assert "be" not in added
    assert len(added) < 20
    terminal.written.clear()
    shown.show(partial(LONG.replace("might", "night") + " a", stable=8))
    (changed,) = terminal.written
    assert "dashwood" not in changed
    assert "night be a" in changed


def test_final_rows_are_never_written_again():
    terminal = Terminal(30, 12)
    shown = captions(terminal)
    for number in range(40):
        shown.show(partial(f"word{number} and"))
        shown.show(final(f"word{number}."))
    text = "".join(terminal.written)
    # Once as an open word, and once more as a final one; in the last row also behind a break.
    assert max(text.count(f"word{n}.") for n in range(40)) <= 2
    assert len("".join(terminal.rows())) == sum(
        map(len, wrapped(" ".join(f"word{n}." for n in range(40)) + " and", 30))
    )


def test_wide_characters_keep_the_cursor_in_its_place():
    terminal = Terminal(9, 8)
    shown = captions(terminal)
    texts = ["日本語の音", "日本語の音声を認", "日本人の音声を認識す"]
    for text in texts:
        event = partial(text)
        shown.show(event)
        assert "".join(terminal.rows()) == text
    shown.show(partial("日本a人"))
    assert terminal.rows() == ["日本a人"]
    shown.show(final("日本b人"))
    assert (terminal.rows(), terminal.dim()) == (["日本b人"], "")


def test_texts_without_blanks_know_which_words_are_stable():
    terminal = Terminal(30)
    shown = captions(terminal)
    found = partial("日本 語の 音声", stable=2)
    shown.show(Event("partial", "日本語の音声", 0, 1, found.words, 2, 1.0))
    assert (terminal.rows(), terminal.dim()) == (["日本語の音声"], "音声")
    closed = final("日本 語の")
    shown.show(Event("final", "日本語の", 0, 1, closed.words, 2, 1.0))
    assert terminal.rows() == ["日本語の 音声"]


def test_more_open_rows_than_the_terminal_has():
    terminal = Terminal(20, 4)
    shown = captions(terminal)
    for count in range(1, 15):
        shown.show(partial(" ".join(LONG.split()[:count])))
    assert terminal.rows()[-3:] == wrapped(LONG, 20)[-3:]
    shown.show(final(LONG))
    shown.close()
    assert terminal.rows() == [*wrapped(LONG, 20), ""]


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("columns", [21, 30, 39, 41, 70])
def test_another_width_leaves_what_is_done_alone_and_breaks_the_rest_anew(
    is_new: bool, columns: int
):
    terminal = Terminal(40, 16)
    shown = captions(terminal, reflows=is_new)
    first = "the first one was here"
    shown.show(final(first))
    shown.show(endpoint())
    shown.show(final("so was the second"))
    shown.show(partial(LONG, stable=3))
    assert terminal.rows() == [first, *wrapped(f"so was the second {LONG}", 40)]
    (terminal.reflow if is_new else terminal.cut)(columns, 16)
    shown.show(partial(f"{LONG} prudently", stable=3))
    done = [first[i : i + columns] for i in range(0, len(first), columns)]
    done = done if is_new else done[:1]
    assert terminal.rows() == [*done, *wrapped(f"so was the second {LONG} prudently", columns)]


def test_the_width_may_change_all_the_time():
    terminal = Terminal(40, 30)
    shown = captions(terminal, reflows=True)
    for columns in (39, 25, 33, 18, 60, 17, 80):
        terminal.reflow(columns, 30)
        shown.show(partial(f"{LONG} {columns}"))
        assert terminal.rows() == wrapped(f"{LONG} {columns}", columns)


def test_a_message_comes_between_and_the_captions_below_it():
    terminal = Terminal()
    shown = captions(terminal)
    shown.show(final("one two"))
    shown.show(partial("three"))
    shown.aside(lambda: terminal.write("echoic: behind by 2.0 s\r\n"))
    assert terminal.rows() == ["echoic: behind by 2.0 s", "one two three"]
    assert terminal.dim() == "three"
    shown.show(partial("three four"))
    assert terminal.rows()[-1] == "one two three four"


def test_control_characters_of_a_model_do_no_harm():
    terminal = Terminal()
    shown = captions(terminal)
    shown.show(partial("a\x1b[2Jb\x07 c\udc80"))
    assert terminal.rows() == [r"a\x1b[2Jb\x07 c" + "\ufffd"]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, False),
        ({"TERM": "screen"}, False),
        ({"TERM": "screen-256color", "TMUX": "/run/tmux"}, True),
        ({"TERM": "linux"}, False),
        ({}, True),
    ],
)
def test_terminals_that_break_rows_anew(environment: dict[str, str], expected: bool):
    assert reflows(environment) is expected
