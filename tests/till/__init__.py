"""A point of sale for tests that need a server process: its handlers write, wait, break and die as they are told."""
