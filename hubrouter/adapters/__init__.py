"""HubRouter at the interfaces of other libraries: Hugging Face transformers and flash-linear-attention."""

from hubrouter.adapters.errors import AdapterError
from hubrouter.adapters.fla import HubMixer
from hubrouter.adapters.huggingface import HubAttention
from hubrouter.adapters.replace import replace_attention

__all__ = ["AdapterError", "HubAttention", "HubMixer", "replace_attention"]
