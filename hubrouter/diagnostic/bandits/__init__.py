"""Linear contextual bandits as routers, one module each: they learn from what they pick, without gradients."""
