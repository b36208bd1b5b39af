"""Evidence: what a run is, where it is carried out, and the ledger it is recorded in."""
