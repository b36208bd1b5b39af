"""Language models trained small, one experiment a file; a file starting with an underscore is shared material."""
