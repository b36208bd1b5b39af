"""How often the statistics are right, one experiment a file; a file starting with an underscore is shared material."""
