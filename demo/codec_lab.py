"""The tab with the codec laboratory: what is left of a recording at so many codes a frame."""

import io
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr
from torch import Tensor

from echoic.codecs.box import BoxCodec
from echoic.codecs.codec import Codec, Encoded
from echoic.codecs.container import EchoWriter, Header
from echoic.codecs.metrics.distances import mel_distance, si_sdr
from echoic.codecs.weights import weights_hash
from echoic.demo.desk import Desk
from echoic.demo.desk_page import DeskPage
from echoic.demo.fields import integer, text, written
from echoic.demo.leaving import when_left
from echoic.demo.once import Once
from echoic.demo.pictures import codes_picture, mel_pictures
from echoic.demo.sounds import read_sound
from echoic.demo.tabs import Tab
from echoic.demo.theme import asset, html, script

MAX_SECONDS = 30
_MAX_BYTES = 24 * 2**20


@dataclass
class LabPage:
    """What is kept for a page: a recording, all its codes, and the file of those that were chosen.

    Attributes:
        codec: name of the codec that made the codes; "" before there are any.
        wav: (1, T) at the codec's rate.
        encoded: all codes of each frame.
        encode_seconds: that coding took.
        file: `.echo`.
    """

    codec: str = ""
    wav: Tensor | None = None
    encoded: Encoded | None = None
    encode_seconds: float = 0.0
    file: bytes = b""


class CodecDesk(Desk[LabPage]):
    """Codes the recordings of pages and makes sound of the codes again.

    Args:
        codecs: that a page may choose from.
        load: makes a codec of its name, at the first job with it.
    """

    def __init__(self, codecs: Sequence[BoxCodec], load: Callable[[str], Codec]) -> None:
        super().__init__(
            LabPage, {"code": self._code}, {"export": self._export}, max_bytes=_MAX_BYTES
        )
        self.codecs = tuple(codecs)
        self._load = {c.name: Once(lambda name=c.name: load(name)) for c in codecs}

    def _code(self, page: DeskPage[LabPage], request: Mapping[str, Any]) -> dict[str, Any]:
        name = text(request, "codec", longest=100)
        if name not in self._load:
            raise ValueError(f"no codec {name!r}: expected {', '.join(self._load) or 'none'}")
        page.tell(doing="Loading the codec")
        codec = self._load[name]()
        # The browser does not know how many there are before its first answer.
        n_q = min(integer(request, "n_q"), codec.num_codebooks) or codec.num_codebooks
        memory = page.memory
        if request.get("fresh") or memory.codec != name:
            _encode(codec, name, page)
        wav, encoded = memory.wav, memory.encoded
        if wav is None or encoded is None:
            raise ValueError("there is no recording: choose a file, or record one")
        page.tell(doing="Decoding")
        kept = Encoded(encoded.codes[:, : codec.check_n_q(n_q)], encoded.lengths)
        start = time.monotonic()
        decoded = codec.decode(kept).cpu()
        took = time.monotonic() - start
        memory.file = _echo_file(codec, name, kept)
        page.record("decoded", decoded[0].numpy(), anew=True)
        page.tell(doing="Measuring")
        seconds = wav.shape[1] / codec.sample_rate
        original, heard = mel_pictures(wav[0], decoded[0], codec.sample_rate)
        ratio = float(si_sdr(wav, decoded))
        return {
            "rate": codec.sample_rate,
            "seconds": seconds,
            "books": kept.codes.shape[1],
            "max_books": codec.num_codebooks,
            "kbits": codec.bits_per_second(n_q) / 1000,
            "bytes": len(memory.file),
            "pcm_bytes": 2 * wav.shape[1],
            "si_sdr": ratio if abs(ratio) < float("inf") else None,
            "mel_distance": mel_distance(wav, decoded, codec.sample_rate),
            "encode_rtf": memory.encode_seconds / seconds,
            "decode_rtf": took / seconds,
            "original": original.to_dict(),
            "decoded": heard.to_dict(),
            "codes": codes_picture(kept.codes[0], codec.codebook_size).to_dict(),
        }

    def _export(self, page: DeskPage[LabPage], _: Mapping[str, Any]) -> dict[str, Any]:
        if not page.memory.file:
            raise ValueError("nothing is coded yet: choose a file, or record one")
        return {"data": written(page.memory.file)}


def codec_tab(desk: CodecDesk) -> Tab:
    """Return the tab."""
    return Tab("Codec lab", lambda page: _build(page, desk), asset("codec_lab.css"))


def _build(page: gr.Blocks, desk: CodecDesk) -> None:
    def codec_lab(request: Any) -> dict[str, Any]:
        return desk.handle(request)

    options = "".join(
        f'<option title="{escape(codec.description)}">{escape(codec.name)}</option>'
        for codec in desk.codecs
    )
    gr.HTML(
        html_template=html("codec_lab.html").replace("CODEC_OPTIONS", options),
        js_on_load=script("microphone", "bring", "track", "pictures", "codec_lab"),
        apply_default_css=False,
        server_functions=[codec_lab],
        elem_id="codec-tab",
    )
    when_left(page, desk.leave)


def _encode(codec: Codec, name: str, page: DeskPage[LabPage]) -> None:
    memory = page.memory
    memory.codec, memory.wav, memory.encoded, memory.file = "", None, None, b""
    page.tell(doing="Reading the file")
    wav = read_sound(
        page,
        codec.sample_rate,
        shortest=0.2,  # a window of the longest spectrum that is compared
        longest=MAX_SECONDS,
        instead="`echoic codec encode FILE` takes any length",
    )[None]
    page.record("original", wav[0].numpy(), anew=True)
    page.tell(doing="Coding")
    start = time.monotonic()
    encoded = codec.encode(wav.to(codec.device))
    memory.encode_seconds = time.monotonic() - start
    memory.codec, memory.wav, memory.encoded = name, wav, encoded


def _echo_file(codec: Codec, name: str, encoded: Encoded) -> bytes:
    header = Header(
        model=name,
        weights=weights_hash(codec),
        sample_rate=codec.sample_rate,
        hop_length=codec.hop_length,
        num_codebooks=encoded.codes.shape[1],
        codebook_size=codec.codebook_size,
        original_sample_rate=codec.sample_rate,
        segment_frames=max(1, round(2 * codec.frame_rate)),
    )
    file = io.BytesIO()
    writer = EchoWriter(file, header)
    writer.write(encoded.codes)
    writer.close(int(encoded.lengths[0]))
    return file.getvalue()
