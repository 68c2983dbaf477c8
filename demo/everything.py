"""All tabs of the demo, and the desks behind them, whose models are loaded when they are needed."""

from typing import NamedTuple

from echoic.asr.device import named_device
from echoic.asr.transcriber import Transcriber
from echoic.codecs.box import box_codecs
from echoic.codecs.registry import load_codec
from echoic.demo.captions import captions_tab
from echoic.demo.codec_lab import CodecDesk, codec_tab
from echoic.demo.files import FileDesk, files_tab
from echoic.demo.hub import LiveHub
from echoic.demo.speech import SpeechDesk, load_synthesizer, speech_tab
from echoic.demo.tabs import Tab


class Everything(NamedTuple):
    """What the demo has to show.

    Attributes:
        hub: answers the captions.
        files: transcribes.
        codecs: codes and decodes.
        speech: speaks.
        tabs: in their order.
    """

    hub: LiveHub
    files: FileDesk
    codecs: CodecDesk
    speech: SpeechDesk
    tabs: tuple[Tab, ...]

    def close(self) -> None:
        """Forget all pages, and end what is done for them."""
        for desk in (self.hub, self.files, self.codecs, self.speech):
            desk.close()


def everything(hub: LiveHub, chunk_ms: int, *, model: str, device: str) -> Everything:
    """Put the tabs together.

    Args:
        hub: answers the captions; its recogniser is loaded by who made it.
        chunk_ms: the chunk size of the captions that is chosen at first.
        model: what transcribes files.
        device: of all models but the hub's: auto, cpu, cuda or cuda:1.

    Raises:
        ValueError: no such chunk size or device.
    """
    where = str(named_device(device))
    files = FileDesk(lambda: Transcriber.from_pretrained(model, device=device))
    codecs = CodecDesk(box_codecs(), lambda name: load_codec(name, device=where))
    speech = SpeechDesk(lambda: load_synthesizer(where), files.hear)
    tabs = (
        captions_tab(hub, chunk_ms=chunk_ms),
        files_tab(files),
        codec_tab(codecs),
        speech_tab(speech),
    )
    return Everything(hub, files, codecs, speech, tabs)
