"""Scripts that make the data and the boxed models, one per result."""
