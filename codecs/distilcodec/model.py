"""DistilCodec, from the description of its method; no code or weights of the original."""

from typing import ClassVar

from echoic.codecs.codec import Codec
from echoic.codecs.distilcodec.config import DistilCodecConfig
from echoic.codecs.distilcodec.network import make_decoder, make_encoder
from echoic.codecs.quantize.quantizer import Quantizer
from echoic.codecs.weight_norm import WeightNormCodec, load_plain, plain_state


class DistilCodec(WeightNormCodec):
    """One big book behind a projection, between a ConvNeXt encoder of mel spectra and HiFi-GAN.

    Trained in two stages: a teacher with many small books (`DistilCodecConfig.as_teacher`), whose
    encoder and decoder the student with the one book inherits (`inherit`).

    Nothing runs over the whole recording, so both directions stream, though far behind: the
    published size looks 0.66 s ahead to encode and 0.22 s to decode. Rows of a batch with
    `lengths` are coded one by one: what follows a shorter one would be in its last frames' sight.

    Args:
        config: settings.
    """

    kind: ClassVar[str] = "distilcodec"
    config_class: ClassVar[type] = DistilCodecConfig
    batchable: ClassVar[bool] = False

    def __init__(self, config: DistilCodecConfig) -> None:
        super().__init__(
            config, make_encoder(config), Quantizer(config.quantizer), make_decoder(config)
        )


def inherit(student: Codec, teacher: Codec) -> None:
    """Copy a teacher's encoder and decoder into a student; the student's books stay.

    Either may have normalised or plain weights.

    Raises:
        ValueError: encoders or decoders of other shapes, or sound of another rate.
    """
    if (student.sample_rate, student.hop_length) != (teacher.sample_rate, teacher.hop_length):
        raise ValueError(
            f"the student has {student.sample_rate} Hz and frames of {student.hop_length} samples, "
            f"the teacher {teacher.sample_rate} Hz and {teacher.hop_length}: expected the same"
        )
    for name in ("encoder", "decoder"):
        try:
            load_plain(getattr(student, name), plain_state(getattr(teacher, name)))
        except ValueError as error:
            raise ValueError(f"the teacher's {name} does not fit the student: {error}") from error
