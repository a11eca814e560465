"""What the pages make of the code and of the results: tables of sites, of numbers and of names, and scripts as text."""
