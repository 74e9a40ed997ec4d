"""Measures the generated service side by side with its peers. `make bench`; docs/benchmarks.md says how and what."""
