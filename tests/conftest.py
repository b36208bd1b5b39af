"""One thread a process: the tests run side by side, and small tensors lose time to threads that wait for each other."""

import torch

torch.set_num_threads(1)
