"""What a run's record and its samples are: types alone, each field documented under its declaration."""
