"""The one training loop, what it is fed and how it is evaluated, and the state it keeps."""
