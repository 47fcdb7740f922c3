"""Hands readings on to other systems."""
