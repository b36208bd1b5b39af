"""Claims about HubRouter, one file each; a file starting with an underscore is shared material."""
