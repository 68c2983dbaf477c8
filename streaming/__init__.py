"""What it means to run on sound that has not ended; knows no model."""
