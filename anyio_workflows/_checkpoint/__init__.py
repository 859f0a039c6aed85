"""What survives of a run: its values as JSON, its checkpoints, and what they were made of."""
