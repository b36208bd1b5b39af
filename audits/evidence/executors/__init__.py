"""Where runs are executed: one module for each way, all behind `Executor`."""
