"""Data sets of synthetic heads on the disk: what a head's record holds, shards, making, reading. Above the sampler."""
