"""Text front end of speech synthesis: from what was typed to words, phonemes and pauses."""
