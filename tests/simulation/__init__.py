"""Thousands of faulty rotations on a virtual clock; docs/simulation.md says what is simulated."""
