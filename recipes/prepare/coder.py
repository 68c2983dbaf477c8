"""What makes codes of recordings: a codec, or a speech tokenizer, which makes no sound of them."""

from echoic.asr.tokenizer.files import is_tokenizer
from echoic.asr.tokenizer.tokenizer import SpeechTokenizer
from echoic.codecs.codec import Codec
from echoic.codecs.registry import load_codec

Coder = Codec | SpeechTokenizer


def load_coder(name_or_dir: str, *, device: str = "cpu") -> Coder:
    """Load a codec by name, id or folder, or a speech tokenizer by its folder.

    Raises:
        CodecError: no such codec, or a damaged one.
        CheckpointError: a damaged speech tokenizer.
    """
    if is_tokenizer(name_or_dir):
        return SpeechTokenizer.from_pretrained(name_or_dir, device=device)
    return load_codec(name_or_dir, device=device)
