# The template's: an update changes it. Which files are yours: README.md.
