"""Providers that break one promise each, to see that the suite notices: `test_broken.py` tries them all."""
