"""The auxiliary-task paper: two codes of an image, where the information went, and clusters of the global one."""
