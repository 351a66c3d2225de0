"""Hair as strands: where it grows, how it is combed, and what of it is curl."""
