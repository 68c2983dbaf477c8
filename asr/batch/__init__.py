"""Batch transcription: find the inputs, run them, write the outputs, and survive being killed.

`inputs` (with `manifest` and `naming`) turns what the user typed into sources; `resume` drops those
that the `journal` knows as done; `engine` runs the rest; `outputs` writes what `writers` and
`subtitles` render; `console` keeps results on stdout and everything else on stderr. Nothing here
imports torch.
"""
