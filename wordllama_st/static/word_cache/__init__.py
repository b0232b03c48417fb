"""Exact look-up of the tokens of words that were seen before."""
