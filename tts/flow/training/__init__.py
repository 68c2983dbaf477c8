"""Training of flow decoders and their vocoders."""
