"""Routers: scores of positions for a query, one module each."""
