"""Making Whisper causal: targets for every moment, one encoder pass a batch, LoRA."""
