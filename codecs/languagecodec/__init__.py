"""Language-Codec: masked-channel residual vector quantization and a Fourier decoder."""
