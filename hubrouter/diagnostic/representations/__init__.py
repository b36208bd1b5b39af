"""Representations: maps from embedded tokens to the router's input, one module each."""
