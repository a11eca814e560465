"""Benchmarks: each prints a Markdown table with what made it."""
