"""Cameras: where frames come from, and what happens when they do not come."""
