"""EchoCodec: our own causal codec, light enough for a CPU."""
