"""Training a Paraformer: batches of whole utterances, their losses, averages and exports."""
