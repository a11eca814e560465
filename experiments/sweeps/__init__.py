"""Sweeps: one job for every combination of values, each member by itself, one table and one page of all."""
