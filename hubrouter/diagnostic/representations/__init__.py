"""What turns embedded tokens into what a router is shown, one module each."""
