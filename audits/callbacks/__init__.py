"""Audits during training, one trainer a file: `audits.callbacks.transformers` and `audits.callbacks.lightning`."""
