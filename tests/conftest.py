"""For every test: torchaudio's guard stands before anything imports transformers or peft."""

import echoic.audio  # noqa: F401
