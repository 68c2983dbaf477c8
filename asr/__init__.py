"""Speech recognition: models, decoding and the batch transcription engine."""

import echoic.audio  # noqa: F401  (its torchaudio guard must stand before transformers or peft)
