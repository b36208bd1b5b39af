"""The experiments that gather evidence, in a folder for each family, and the training they share."""
