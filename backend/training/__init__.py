"""Synthetic heads to train and to measure with: people, their hair as strands, exact ground truth, pictures."""
