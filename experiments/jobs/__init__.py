"""What the command line can be asked to do: one job a module."""
