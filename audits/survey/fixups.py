"""The one table of configurations: how large a tiny model is, by the name of a setting, and what an architecture needs.

Windows, chunks, blocks and original rotary lengths come out far below the sequence length, so that every audit crosses
them several times; lengths that must not be exceeded stay above twice the sequence length, which repeated calls use.
A setting that a release of the library does not have is skipped.
"""

from __future__ import annotations

from typing import Any

SEQ_LEN = 40
WINDOW = 8  # positions of every window, chunk and block
POSITIONS = 128  # that models are given
LONGEST = POSITIONS // 2  # sequence length: repeated calls use twice of it

# Settings that are replaced wherever they hold a larger whole number; the first pattern that matches applies.
SIZES: tuple[tuple[str, int], ...] = (
    ("pad_token_id", 0),
    ("bos_token_id", 1),
    ("eos_token_id", 2),
    ("decoder_start_token_id", 1),
    ("forced_eos_token_id", 2),
    ("forced_bos_token_id", 1),
    ("sep_token_id", 2),
    ("begin_suppress_tokens", 2),
    ("*vocab_size*", 64),
    ("ngram_vocab_size_base", 64),
    # layers
    ("*num_kv_shared_layers", 0),
    ("num_layers_per_stack", 1),
    *((name, 2) for name in ("*num_hidden_layers", "n_layer", "n_layers", "num_layers", "*num_blocks", "depth")),
    *((name, 2) for name in ("decoder_layers", "encoder_layers", "num_encoder_layers", "num_decoder_layers")),
    # which layer is of which kind: every second
    *((f"{kind}_layer_period", 2) for kind in ("attn", "expert")),
    *((f"{kind}_layer_offset", 1) for kind in ("attn", "expert")),
    ("first_k_dense_replace", 1),
    ("num_dense_layers", 1),
    ("max_window_layers", 1),
    ("moe_layer_start_index", 1),
    ("moe_layer_end_index", 1),
    *((name, 2) for name in ("full_attention_interval", "*sliding_window_pattern", "no_rope_layer_interval")),
    *((name, 2) for name in ("interleave_moe_layer_step", "global_attn_every_n_layers", "layer_group_size")),
    ("n_layers_per_attn_res_block", 1),
    # windows, chunks, blocks
    *((name, WINDOW) for name in ("*sliding_window", "*sliding_window_size", "attention_window_size", "window_size")),
    *((name, WINDOW) for name in ("*chunk_size", "*attn_chunk_length", "attention_chunk_size", "mem_len")),
    *((name, WINDOW) for name in ("local_attention", "local_attention_window_len", "keep_window_size")),
    ("chunk_size_feed_forward", 0),
    ("*block_size", 4),
    ("index_topk_blocks", 3),
    ("index_topk", 6),
    ("floor_scale", WINDOW),
    ("log_scaling_n_floor", WINDOW),
    ("rel_extent", WINDOW),
    ("num_random_blocks", 1),
    ("original_max_position_embeddings", 16),
    # lengths
    *(
        (name, POSITIONS)
        for name in ("*max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length")
    ),
    *((name, POSITIONS) for name in ("max_target_positions", "max_source_positions", "model_max_length")),
    # experts
    *((name, 4) for name in ("*num_experts", "num_local_experts", "n_routed_experts", "zero_expert_num")),
    *((name, 2) for name in ("num_experts_per_tok*", "*moe_topk", "moe_top_k", "moe_k")),
    *((name, 1) for name in ("n_shared_experts", "*num_shared_experts", "topk_group")),
    *((name, 2) for name in ("n_group", "num_expert_group")),
    # heads
    *(
        (name, 2)
        for name in ("*num_key_value_heads", "*num_kv_heads", "kv_n_heads", "*num_key_heads", "num_query_groups")
    ),
    *((name, 4) for name in ("*num_attention_heads*", "n_head", "n_heads", "num_heads", "*_attention_heads")),
    *((name, 4) for name in ("attention_heads", "linear_num_heads", "linear_num_value_heads", "index_n_heads")),
    *((name, 8) for name in ("mamba_n_heads", "mamba_num_heads", "heads_per_ngram")),
    *((name, 4) for name in ("qk_nope_head_dim", "qk_rope_head_dim")),
    *((name, 8) for name in ("*head_dim", "*headdim", "head_size", "dim_head", "d_head", "d_kv", "kv_channels")),
    *(
        (name, 8)
        for name in ("attention_head_size", "mamba_d_head", "*lora_rank", "d_rel", "hidden_size_per_layer_input")
    ),
    *((name, 8) for name in ("adapter_rank", "gated_norm_rank", "laurel_rank", "o_lora_rank", "hc_lowrank")),
    *((name, 2) for name in ("n_groups", "mamba_ngroups", "o_groups", "hc_mult", "hc_count")),
    *((name, 8) for name in ("*d_state", "state_size", "ssm_state_size", "router_hidden_size", "mamba_dt_rank")),
    # widths
    ("mamba_d_ssm", 64),
    *((name, 48) for name in ("*intermediate_size*", "*ffn_dim", "ffn_hidden_size", "*ffn_hidden_size", "d_ff", "dff")),
    *((name, 48) for name in ("dim_ff", "d_inner", "n_inner", "feed_forward_size", "moe_intermediate_size")),
    *((name, 32) for name in ("*hidden_size*", "d_model", "n_embd", "emb_dim", "embedding_dim", "lru_width")),
    *((name, 32) for name in ("*embedding_size", "word_embed_proj_dim", "*embed_dim", "dim_model_base")),
)

_LATENT = ("deepseek_v32", "glm_moe_dsa")
_LATENT_ROTARY = ("axk1", "deepseek_v3", "longcat_flash", "youtu")
_SLIDING_OFF_BY_DEFAULT = ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe")
_SLIDING_UNSET = ("phi3", "phimoe", "starcoder2", "mixtral")
_WITHOUT_HEAD_DIM = ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral")
_ONE_OF_EACH = ["sliding_attention", "full_attention"]
_SLIDING = {"use_sliding_window": True, "sliding_window": WINDOW, "layer_types": _ONE_OF_EACH}
_QWEN4 = {
    "indexer_n_heads": 4,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 8,
    "indexer_budget": 8,
    "indexer_compress_ratio": 4,
}
_DOTS3_SLIDING = {
    **{f"swa_{name}": 4 for name in ("num_attention_heads", "num_key_value_heads", "qk_nope_head_dim")},
    **{f"swa_{name}": 8 for name in ("q_lora_rank", "kv_lora_rank", "head_dim", "v_head_dim")},
}
_DOTS3 = {"num_key_value_heads": 4, **_DOTS3_SLIDING}

# Weights of a narrow model are drawn wider, so that its activations are about as large as those of the full width.
SPREADS = {"initializer_range": 0.2, "init_std": 0.2}

# What a single architecture needs beyond that; the settings of a part in a dictionary of its own.
FIXUPS: dict[str, dict[str, Any]] = {
    **{name: {"num_key_value_heads": 4} for name in _LATENT},  # one key a head, after the projection
    **{name: {"num_key_value_heads": 4, "head_dim": 4} for name in _LATENT_ROTARY},
    **dict.fromkeys(_SLIDING_OFF_BY_DEFAULT, _SLIDING),
    **{name: {"sliding_window": WINDOW} for name in _SLIDING_UNSET},
    **{name: {"head_dim": 8} for name in _WITHOUT_HEAD_DIM},
    "axk2": {"num_key_value_heads": 4, "index_head_dim": 8},
    "bamba": {"attn_layer_indices": [1]},
    "blt": {"use_cache": False, "encoder_hash_byte_group_vocab": 64, "encoder_hash_byte_group_size": [3, 4]},
    "codegen": {"rotary_dim": 4},
    "cohere_compass_text": {
        "layer_types": _ONE_OF_EACH,
        "rope_parameters": {kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in _ONE_OF_EACH},
    },
    "deepseek_v2": {"num_key_value_heads": 4, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "deepseek_v4": {"compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": WINDOW}},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "bailing_hybrid": {"num_experts": 4},
    "dbrx": {"attn_config": {"rope_theta": 10000.0, "clip_qkv": 8.0}},
    "dots3_note": {
        "text_config": _DOTS3,
        "vision_config": {"adapter_in_dim": 32, "adapter_out_dim": 32, "mlp_bias": False},
        "audio_config": {"adapter_input_size": 32, "adapter_out_dim": 32},
    },
    "dots3_note_text": _DOTS3,
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "hrm_text": {"num_hidden_layers": 1, "num_layers_per_stack": None},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8},
    "mellum": {"layer_types": _ONE_OF_EACH},
    "musicgen": {"decoder": {"num_codebooks": 1}},  # else the tokens come as [B * codebooks, N]
    "musicgen_melody": {"decoder": {"num_codebooks": 1}},
    "nemotron": {"num_key_value_heads": 2},
    "qwen4_exp": {"text_config": _QWEN4},
    "qwen4_exp_text": _QWEN4,
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "is_decoder": True,
        "axial_pos_shape": [8, 16],
        "axial_pos_embds_dim": [8, 24],
        "attn_layers": ["local", "lsh"],
        "num_buckets": 4,
    },
    "xlstm": {"hidden_size": 64, "embedding_dim": 64, "qk_dim_factor": 1.0},
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
        "attention_hidden_size": 64,
        "attention_head_dim": 16,
    },
}
