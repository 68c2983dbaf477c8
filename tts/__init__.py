"""Speech synthesis."""

import echoic.audio  # noqa: F401  (its torchaudio guard must stand before transformers or peft)
