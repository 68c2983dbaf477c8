"""Word errors of speech that went through a codec: good codecs add none, bad ones all."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_codec import saved_codec, tiny_codec
from torch import Tensor

from echoic.asr.transcriber import Transcriber
from echoic.codecs.codec import Codec, Encoded
from echoic.recipes.codec_words import main, measure, read_rows, table

MANIFEST = Path(__file__).parents[1] / "data" / "manifest.jsonl"


class Faithful(Codec):
    """Gives back what it was given with all its codes, and silence with fewer."""

    def __init__(self) -> None:
        tiny = tiny_codec()
        super().__init__(tiny.config, tiny.encoder, tiny.quantizer, tiny.decoder)

    def encode(self, wav: Tensor, *rest: Any, **options: Any) -> Encoded:
        self.heard = wav
        return super().encode(wav, *rest, **options)

    def decode(self, codes: Tensor | Encoded, lengths: Tensor | None = None) -> Tensor:
        books = codes.shape[1] if isinstance(codes, Tensor) else 0
        return self.heard * float(books == self.num_codebooks)


def test_a_faithful_codec_adds_no_errors_and_a_silent_one_loses_all_words() -> None:
    rows = read_rows(MANIFEST)[:2]
    words = measure(rows, Faithful(), Transcriber.from_pretrained("tiny.en"), [1, 3])
    assert words.original.num_words > 20
    assert words.coded[3].rate == words.original.rate < 0.3
    assert words.coded[1].rate == 1.0
    assert words.bits_per_second == {1: 250.0, 3: 750.0}
    lines = table(words).splitlines()
    assert lines[2].split()[:2] == ["1", "250"]
    assert lines[3].split()[-1] == "+0.0"


def test_the_command_measures_and_keeps_the_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = saved_codec(tmp_path / "codec")
    report = tmp_path / "words.json"
    arguments = [str(MANIFEST), "--model", str(model), "--limit", "1", "--json", str(report)]
    assert main(arguments) == 0
    assert "1 recordings" in capsys.readouterr().out
    assert report.is_file()


@pytest.mark.parametrize(
    ("manifest", "model", "books", "message"),
    [
        ("missing.jsonl", "", "", "missing.jsonl: no such file"),
        ("", "no-such-codec", "", "no codec 'no-such-codec'"),
        ("", "", "9", "n_q is 9, expected 1 to 3"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    manifest: str,
    model: str,
    books: str,
    message: str,
) -> None:
    torch.manual_seed(0)
    folder = model or str(saved_codec(tmp_path / "codec"))
    source = str(tmp_path / manifest) if manifest else str(MANIFEST)
    assert main([source, "--model", folder, "--n-q", books]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
