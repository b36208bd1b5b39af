"""Token-level taint tracking: which later token an output depends on, in one forward pass, down to the line of code."""
