"""Sound in, features out: reading, resampling, spectral features and voice activity.

Nothing in this folder is trained here. Importing it makes `torchaudio` importable beside a CPU
build of torch, so every folder above imports `echoic.audio` before `transformers` or `peft`.
"""

from echoic.audio import torchaudio_guard

torchaudio_guard.install()
