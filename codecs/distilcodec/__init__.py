"""DistilCodec: mel spectra in, one book of 32,768 codes, HiFi-GAN out; the method, not weights."""
