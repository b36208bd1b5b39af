"""The survey: every causal language model that a library registers, built tiny and audited."""
