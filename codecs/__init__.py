"""Neural audio codecs (imported as `echoic.codecs`; the standard library keeps `codecs`)."""
