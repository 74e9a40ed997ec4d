"""Chores of the template."""
