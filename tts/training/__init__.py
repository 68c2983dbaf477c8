"""Training of speech language models: coded corpora, batches and the task."""
