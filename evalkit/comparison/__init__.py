"""Two runs, or a run and a publication: pairing, compare, gate, explain, power, leaderboard. Loads no model."""
