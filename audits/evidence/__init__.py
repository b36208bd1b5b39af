"""Evidence: what a run is, where it is executed, and the ledger it is recorded in."""
