"""The composition root: the one place where objects meet."""
