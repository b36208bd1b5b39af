"""The survey: every causal language model that a library registers, built at a tiny size and audited."""
