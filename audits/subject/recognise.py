"""Models whose contract is known from what they are: encoder-decoders, decision transformers, forecasters, codecs.

What is recognised is printed, and gives way to what the user says.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from typing import Any

from audits.subject.contract import Contract
from audits.subject.settings import SubjectError

FRAMES = 6  # of a codec, at least: its default length in frames; our choice


@dataclass(frozen=True)
class Recognised:
    """A contract, with the longest sequence that goes with it and the number of slots it must be a multiple of."""

    contract: Contract
    longest: int | None = None
    multiple: int = 1

    def seq_len(self, asked: int) -> int:
        """The length that is fed for the one asked for."""
        frames = -(-asked // self.multiple)
        length = asked if self.multiple == 1 else max(frames, FRAMES) * self.multiple
        return min(length, self.longest or length)


# Of a decision transformer: states and returns up to the present, actions before it; the action is predicted.
DECISIONS = {"states": "past", "actions": "before", "returns_to_go": "past", "timesteps": "held:positions"}


def recognised(model: Any) -> Recognised | None:
    """The contract of a model that is known by its configuration and its arguments.

    Raises:
        SubjectError: it is a model of which nothing can be judged.
    """
    config = getattr(model, "config", None)
    try:
        names = set(inspect.signature(getattr(model, "forward", model)).parameters)
    except (TypeError, ValueError):
        return None
    if DECISIONS.keys() <= names:
        return Recognised(Contract(inputs=DECISIONS, output="action_preds"))
    if {"past_values", "future_values"} <= names:
        return _forecaster(config, names)
    if {"input_values", "audio_codes"} <= names:
        return _codec(config)
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in names:
        return _encoder_decoder(model, config)
    return None


def _forecaster(config: Any, names: set[str]) -> Recognised:
    """The past window free; the future teacher-forced, each value available after its own prediction is due."""
    length = getattr(config, "prediction_length", None)
    if "future_time_features" not in names:
        raise SubjectError(
            "the target forecasts the whole horizon from the whole past window: every input is available before the "
            "first output is due, so nothing could leak. Audit its decoder or backbone, or say otherwise with --role"
        )
    lags = max(getattr(config, "lags_sequence", None) or [0])
    past = f"{(getattr(config, 'context_length', None) or length) + lags}"
    size = getattr(config, "input_size", 1)
    series = "" if size == 1 else f"x{size}"
    features = getattr(config, "num_time_features", 0)
    roles = {
        "past_values": f"free:features:={past}{series}",
        "past_time_features": f"free:features:={past}x{features}",
        "past_observed_mask": f"free:flags:={past}{series}",
        "future_values": "before:features" + (f":{size}" if size > 1 else ""),
        "future_time_features": f"free:features:{features}",
    }
    return Recognised(Contract(inputs=roles, output="params"), longest=length)


def _codec(config: Any) -> Recognised:
    """Samples in, samples out, frame by frame: a sample is due when its frame is complete."""
    ratios = getattr(config, "upsampling_ratios", None) or [getattr(config, "hop_length", 1)]
    rate, frames = getattr(config, "sampling_rate", 0), getattr(config, "frame_rate", 0)
    whole = isinstance(frames, (int, float)) and frames and rate % frames == 0
    hop = max(math.prod(ratios), int(rate / frames) if whole else 1)
    channels = getattr(config, "audio_channels", 1)
    roles = {"input_values": f"past:features:{channels}"}
    contract = Contract(inputs=roles, output="audio_values", hop=hop, input_axis=2, output_axis=2)
    return Recognised(contract, multiple=hop)


def _encoder_decoder(model: Any, config: Any) -> Recognised:
    """The encoder's input is free, the decoder's is the past."""
    source = getattr(model, "main_input_name", "input_ids")
    mels, frames = getattr(config, "num_mel_bins", None), getattr(config, "max_source_positions", None)
    if source == "input_ids":
        kind = ":tokens"
    elif source == "input_features" and mels and frames:
        kind = f":features:={mels}x{2 * frames}"  # Whisper: two frames of the spectrogram a position
    else:
        kind = ""
    longest = getattr(config, "max_target_positions", None)
    return Recognised(Contract(inputs={source: f"free{kind}", "decoder_input_ids": "past:tokens"}), longest)
