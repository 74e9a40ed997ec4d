# The template's: an update changes it. Which files are yours: README.md.
"""The kit for providers: what each of them would write again."""
