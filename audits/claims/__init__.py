"""The claims, in a folder for each family, and what a claim is."""
