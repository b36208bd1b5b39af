"""What scores positions for a query, one module each."""
