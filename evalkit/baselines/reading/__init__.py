"""Foreign tables, logs and model cards, read: a number comes from its own cell or from nowhere."""
