"""What contradicts itself in a published log or table."""
