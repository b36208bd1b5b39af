"""HubRouter (arXiv:2604.22442), strictly causal, and the sequence models built from it."""

from hubrouter.config import ConfigError, ModelConfig, RouterConfig
from hubrouter.model import SequenceModel
from hubrouter.router import HubRouter
from hubrouter.state import RouterState

__all__ = ["ConfigError", "HubRouter", "ModelConfig", "RouterConfig", "RouterState", "SequenceModel"]
