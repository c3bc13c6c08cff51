"""Standard errors, paired tests, bounds: numbers alone, each formula with its source."""
