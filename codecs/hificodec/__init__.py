"""HiFi-Codec: group-residual vector quantization between a mirrored and a plain HiFi-GAN."""
