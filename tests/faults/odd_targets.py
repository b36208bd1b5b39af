"""Targets that misbehave, as the text of one Python file: what they raise, when, and what they do to their process."""

from __future__ import annotations

ERRORS = (
    "ValueError('two\\nlines')", "KeyboardInterrupt()", "SystemExit(0)", "SystemExit('words')", "GeneratorExit()",
    "MemoryError()", "RecursionError()", "StopIteration()", "Wordless()", "ModuleNotFoundError('nameless')",
    "OSError(28, 'No space left on device')", "BrokenPipeError()", "UnicodeError('\\udc80 \\x1b[31m')",
    "AssertionError()", "BaseException('odd')",
)  # fmt: skip
MOMENTS = (1, 2, 9)  # the call that raises
_HEAD = """
import contextlib, os, random, sys, threading, warnings
import torch
from torch import nn

class Wordless(Exception):
    def __str__(self):
        raise RuntimeError("no words")

class Causal(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(13, 4), nn.Linear(4, 13)
    def forward(self, tokens):
        return self.head(self.embedding(tokens).cumsum(1))

class Leaky(Causal):
    def forward(self, tokens):
        return super().forward(tokens.flip(1))
"""
_RAISING = """
class Raises{index}(Causal):
    calls = 0
    def forward(self, tokens):
        Raises{index}.calls += 1
        if Raises{index}.calls >= {moment}:
            raise {error}
        return super().forward(tokens)
"""
_FORWARDING = """
class {name}(Causal):
    def forward(self, tokens):
        {body}
        return super().forward(tokens)
"""
_FACTORY = """
def factory{index}():
    raise {error}
"""
# Bodies of `forward`, which ends by returning the causal outputs, and of the class.
_FORWARD = {
    "DefaultDevice": "torch.set_default_device('meta')",
    "DefaultDtype": "torch.set_default_dtype(torch.float16)",
    "GradOff": "torch.set_grad_enabled(False)",
    "Directory": "os.chdir('/')",
    "PrintsSurrogates": "print('\\udc80\\x1b[2J')",
    "NoStdout": "sys.stdout = None",
    "Warns": "warnings.warn('careful')",
    "Thread": "threading.Thread(target=lambda: None).start()",
    "Deletes": "self.__dict__.pop('extra', None)",
    "Grows": "self.extra = getattr(self, 'extra', []) + [tokens]",
    "WritesInput": "tokens.zero_()",
    "Environment": "os.environ.clear()",
    "Random": "random.seed(0); torch.manual_seed(0)",
    "NoneReturned": "return None",
    "TextReturned": "return 'text'",
    "Empty": "return torch.empty(0)",
    "Scalar": "return torch.tensor(1.0)",
    "Short": "return super().forward(tokens)[:, 1:]",
    "Infinite": "return super().forward(tokens) / 0",
    "Integers": "return tokens[..., None]",
    "Complex": "return torch.complex(super().forward(tokens), super().forward(tokens))",
    "Sparse": "return super().forward(tokens).to_sparse()",
    "Meta": "return super().forward(tokens).to('meta')",
    "Nested": "return {'a': [super().forward(tokens), None], 'b': self}",
}
_CLASS = {
    "Config": "config = property(lambda self: 1 / 0)",
    "GetAttribute": (
        "def __getattr__(self, name):\n        "
        "raise RuntimeError(name) if name.startswith('c') else AttributeError(name)"
    ),
    "Modules": "def named_modules(self, *a, **k):\n        raise RuntimeError('no modules')",
    "Parameters": "def parameters(self, *a, **k):\n        raise RuntimeError('no parameters')",
    "Copy": "def __deepcopy__(self, memo):\n        raise GeneratorExit",
    "OwnCopy": "def __deepcopy__(self, memo):\n        return self",
    "Representation": "def __repr__(self):\n        raise RuntimeError('no text')",
    "Signature": "__signature__ = 3",
    "Name": "__module__ = '\\x1b[31m'",
    "Hash": "__hash__ = None",
    "Train": "def train(self, mode=True):\n        raise RuntimeError('no modes')",
    "Call": "def __call__(self, *a, **k):\n        raise SystemExit(1)",
}


def source() -> str:
    """The file."""
    parts, index = [_HEAD], 0
    for error in ERRORS:
        for moment in MOMENTS:
            parts.append(_RAISING.format(index=index, moment=moment, error=error))
            index += 1
        parts.append(_FACTORY.format(index=index, error=error))
        index += 1
    for name, body in _FORWARD.items():
        parts.append(_FORWARDING.format(name=name, body=body))
    parts += [f"class {name}(Causal):\n    {body}\n" for name, body in _CLASS.items()]
    parts.append("number, text, nothing, module, kind = 3, 'text', None, os, int\n")
    return "\n".join(parts)


def names() -> list[str]:
    """The attributes that are targets."""
    every = range(len(ERRORS) * (len(MOMENTS) + 1))
    raising = [f"{'factory' if i % (len(MOMENTS) + 1) == len(MOMENTS) else 'Raises'}{i}" for i in every]
    others = ("number", "text", "nothing", "module", "kind", "absent", "Causal.a.b")
    return ["Causal", "Leaky", *raising, *_FORWARD, *_CLASS, *others]
