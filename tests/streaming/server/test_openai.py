"""OpenAI's own client against the server: recordings, speech, models and realtime."""

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
from served import FakeFiles, bursts, heard_alone

from echoic.audio.io import load

TEXT = b"the first line\nand the second"


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as found:
        yield found


def sent(data: bytes = TEXT) -> tuple[str, bytes]:
    return ("talk.wav", data)


def test_a_transcript_in_every_format(client: openai.OpenAI):
    make = client.audio.transcriptions.create
    assert make(model="whisper-1", file=sent()).text == "the first line and the second"
    text = make(model="files", file=sent(), response_format="text")
    assert text == "the first line and the second\n"
    assert make(model="files", file=sent(), response_format="srt").startswith(
        "1\n00:00:00,000 --> 00:00:14,000\nthe first line\n"
    )
    assert make(model="files", file=sent(), response_format="vtt").startswith("WEBVTT\n\n00:00.000")
    full = make(
        model="files",
        file=sent(),
        response_format="verbose_json",
        timestamp_granularities=["word", "segment"],
        language="en",
        prompt="names",
    )
    assert full.duration == 28
    assert full.segments is not None
    assert [segment.text for segment in full.segments] == [" the first line", " and the second"]
    assert full.words is not None
    assert [word.word.strip() for word in full.words] == [
        "the",
        "first",
        "line",
        "and",
        "the",
        "second",
    ]


def test_a_transcript_comes_piece_by_piece(client: openai.OpenAI):
    events = list(client.audio.transcriptions.create(model="files", file=sent(), stream=True))
    assert [event.type for event in events] == [
        "transcript.text.delta",
        "transcript.text.delta",
        "transcript.text.done",
    ]
    deltas = "".join(e.delta for e in events if e.type == "transcript.text.delta")
    last = events[-1]
    assert last.type == "transcript.text.done"
    assert last.text == deltas == "the first line and the second"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"file": sent(b"BAD")}, "file"),
        ({"language": "xx"}, "language"),
        ({"temperature": 0.5}, "temperature"),
        ({"response_format": "docx"}, "response_format"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities[]"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str, client: openai.OpenAI):
    request = {"model": "files", "file": sent(), **fields}
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(**request)
    assert refused.value.param == param
    assert refused.value.type == "invalid_request_error"
    assert "echoic-" not in str(refused.value), "the path of a temporary file"


def test_errors_of_a_stream_come_before_it(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match=r"talk\.wav: is not sound"):
        list(client.audio.transcriptions.create(model="files", file=sent(b"BAD"), stream=True))


def test_who_cannot_translate_says_so(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match="cannot translate"):
        client.audio.translations.create(model="files", file=sent())


def test_a_bug_is_a_500_without_a_traceback(client: openai.OpenAI):
    with pytest.raises(openai.InternalServerError) as failed:
        client.audio.transcriptions.create(model="files", file=sent(b"BOOM"))
    assert "division" not in str(failed.value)


def test_models_are_listed(client: openai.OpenAI):
    assert {model.id for model in client.models.list()} == {"words", "files", "tones"}
    assert client.models.retrieve("tones").owned_by == "echoic"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


@pytest.mark.parametrize("form", ["wav", "flac", "opus", "mp3", "pcm"])
def test_speech_in_every_format_while_it_is_spoken(form: Any, client: openai.OpenAI):
    speak = client.audio.speech.with_streaming_response.create
    with speak(model="tts-1", voice="alloy", input="one two three", response_format=form) as answer:
        data = b"".join(answer.iter_bytes())
        rate = int(answer.headers["x-sample-rate"])
    if form == "pcm":
        wav = np.frombuffer(data, "<i2") / 32768
    else:
        sound, rate = load(data)
        wav = sound[0].numpy()
    assert len(wav) / rate == pytest.approx(0.3, abs=0.15)  # MP3 begins and ends late
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav))))
    assert np.argmax(spectrum) * rate / len(wav) == pytest.approx(440, abs=8)


def test_speech_as_events(client: openai.OpenAI):
    with client.audio.speech.with_streaming_response.create(
        model="tones", voice="low", input="one", response_format="pcm", stream_format="sse"
    ) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-2:] == ['data: {"type": "speech.audio.done"}', "data: [DONE]"]


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "a@b"},
        {"input": " "},
        {"input": "x" * 4097},
        {"speed": 2.0},
        {"instructions": "whisper"},
        {"voice": "nobody"},
        {"response_format": "aac"},
    ],
)
def test_speech_that_cannot_be(fields: dict[str, Any], client: openai.OpenAI):
    request: dict[str, Any] = {"model": "tones", "voice": "alloy", "input": "one", **fields}
    with pytest.raises(openai.BadRequestError):
        client.audio.speech.create(**request)


def test_realtime_transcription_by_turns(client: openai.OpenAI):
    wav = bursts(7, 24_000)
    half = 24_000 * 2
    with client.realtime.connect(extra_query={"intent": "transcription"}) as link:
        assert link.recv().type == "session.created"
        link.session.update(
            session={
                "type": "transcription",
                "audio": {"input": {"turn_detection": None, "transcription": {"language": "en"}}},
            }
        )
        assert link.recv().type == "session.updated"
        texts = []
        for part in (wav[:half], wav[half:]):
            for at in range(0, len(part), 5000):
                audio = base64.b64encode(part[at : at + 5000].tobytes()).decode()
                link.input_audio_buffer.append(audio=audio)
            link.input_audio_buffer.commit()
            deltas, items = "", set()
            while True:
                event: Any = link.recv()
                if event.type == "input_audio_buffer.committed":
                    items.add(event.item_id)
                    continue
                items.add(event.item_id)
                if event.type.endswith(".completed"):
                    break
                assert event.type == "conversation.item.input_audio_transcription.delta"
                deltas += event.delta
            assert deltas == event.transcript
            assert len(items) == 1
            texts.append(event.transcript)
        expected = [
            " ".join(e["text"] for e in heard_alone(part, 24_000) if e["type"] == "final")
            for part in (wav[:half], wav[half:])
        ]
        assert texts == expected
        link.input_audio_buffer.clear()
        assert link.recv().type == "input_audio_buffer.cleared"
        link.input_audio_buffer.commit()
        refused: Any = link.recv()
        assert refused.type == "error"
        assert refused.error.code == "input_audio_buffer_commit_empty"
        link.send({"type": "response.create"})
        assert link.recv().type == "error"


def test_files_see_what_was_asked(client: openai.OpenAI, files: FakeFiles):
    client.audio.transcriptions.create(
        model="files", file=sent(), extra_body={"hotwords": "echoic", "beam_size": 3, "vad": False}
    )
    asked = files.asked[-1]
    assert (asked.hotwords, asked.beam_size, asked.vad) == ("echoic", 3, False)
