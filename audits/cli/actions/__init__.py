"""What the commands do, one file each as in `audits.cli`; imported only when the command is called."""
