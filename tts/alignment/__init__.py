"""Which frames of coded speech say which unit of its text."""
