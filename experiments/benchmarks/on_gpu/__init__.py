"""What is to be measured on the day that a GPU is at hand, by one command."""
