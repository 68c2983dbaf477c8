"""Training of codecs by `echoic train`: the task, the data, and from a run to a codec."""
