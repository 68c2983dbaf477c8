"""The verb `stream`: sound that has not ended becomes text on a terminal, lines or JSON events."""
