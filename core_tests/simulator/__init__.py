"""The real core on a virtual clock, at a simulated broker: a seed decides everything. See CONTRIBUTING.md."""
