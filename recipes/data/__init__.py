"""The commands over training data: each in a module of its own, with `add(group)`."""
