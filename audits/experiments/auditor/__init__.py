"""The auditor itself put to the test, one experiment a file; a file starting with an underscore is shared material."""
