"""The routing diagnostic of arXiv:2603.20997: tasks, representations and routers, one module each."""
