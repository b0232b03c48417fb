"""Tiny models of many families, as transformers builds them from a config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import transformers
from checkpoints import COLUMNS, ROWS
from transformers import PreTrainedModel

#: Sizes under the names that most configs use. Three layers, since fewer are built to look for the table.
SIZES: dict[str, Any] = {
    "vocab_size": ROWS,
    "hidden_size": COLUMNS,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "pad_token_id": 2,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 8}
VISION = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
QWEN_VISION = {
    "depth": 3,
    "embed_dim": 16,
    "hidden_size": 16,
    "out_hidden_size": 16,
    "intermediate_size": 32,
    "num_heads": 2,
    "fullatt_block_indexes": [1],
}
MROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10_000.0}


def family(name: str, head: str = "ForCausalLM", config: str = "", **fields: Any) -> Callable[[], PreTrainedModel]:
    """A model of a family by the names of its classes; a field that is None stays as the family has it."""

    def build() -> PreTrainedModel:
        known = {key: value for key, value in (SIZES | fields).items() if value is not None}
        settings = getattr(transformers, config or f"{name}Config")(**known)
        model: PreTrainedModel = getattr(transformers, name + head)(settings)
        return model

    return build


def vision_language(
    name: str, text: dict[str, Any], vision: dict[str, Any], **fields: Any
) -> Callable[[], PreTrainedModel]:
    """As :func:`family`, with the language model in a config of its own."""
    own: dict[str, Any] = dict.fromkeys(SIZES) | {"text_config": SIZES | text, "vision_config": vision} | fields
    return family(name, "ForConditionalGeneration", **own)


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {
    "Llama": family("Llama"),
    "Llama, tied": family("Llama", tie_word_embeddings=True),
    "Llama, bare": family("Llama", "Model"),
    "Llama, classifier": family("Llama", "ForSequenceClassification", num_labels=5),
    "Mistral": family("Mistral"),
    "Mixtral": family("Mixtral", num_local_experts=4, **EXPERTS),
    "Qwen2": family("Qwen2"),
    "Qwen3": family("Qwen3", head_dim=8),
    "Qwen3, a type for each layer": family("Qwen3", head_dim=8, layer_types=["full_attention"] * 3),
    "Qwen3-MoE": family("Qwen3Moe", head_dim=8, num_experts=4, **EXPERTS),
    "Gemma": family("Gemma", head_dim=8),
    "Gemma 2": family("Gemma2", head_dim=8),
    "Gemma 3": family("Gemma3", config="Gemma3TextConfig", head_dim=8),
    "Phi-3": family("Phi3"),
    "GPT-2": family("GPT2", "LMHeadModel"),
    "GPT-J": family("GPTJ", rotary_dim=4),
    "GPT-Neo": family("GPTNeo", num_layers=4, num_heads=2, attention_types=[[["global", "local"], 2]],
                      num_hidden_layers=None, num_attention_heads=None),
    "GPT-NeoX": family("GPTNeoX"),
    "OPT": family("OPT", ffn_dim=32, word_embed_proj_dim=8),
    "BLOOM": family("Bloom"),
    "Falcon": family("Falcon"),
    "MPT": family("Mpt", d_model=COLUMNS, n_heads=2, n_layers=3),
    "StableLM": family("StableLm"),
    "Cohere": family("Cohere"),
    "OLMo 2": family("Olmo2"),
    "Granite": family("Granite", embedding_multiplier=12.0),
    "DeepSeek-V3": family(
        "DeepseekV3", n_routed_experts=4, n_group=2, topk_group=1, kv_lora_rank=8, q_lora_rank=8,
        qk_rope_head_dim=8, qk_nope_head_dim=8, v_head_dim=8, first_k_dense_replace=2, **EXPERTS,
    ),
    "StarCoder2": family("Starcoder2"),
    "Mamba": family("Mamba", state_size=4),
    "T5": family("T5", "ForConditionalGeneration", d_model=COLUMNS, d_kv=8, d_ff=32, num_layers=3, num_heads=2),
    "T5, encoder": family("T5", "EncoderModel", d_model=COLUMNS, d_kv=8, d_ff=32, num_layers=3, num_heads=2),
    "BART": family("Bart", "ForConditionalGeneration", d_model=COLUMNS, encoder_layers=3, decoder_layers=3,
                   encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=2, decoder_attention_heads=2),
    "BERT": family("Bert", "ForMaskedLM"),
    "BERT, bare": family("Bert", "Model"),
    "XLM-R": family("XLMRoberta", "ForMaskedLM"),
    "ModernBERT": family("ModernBert", "ForMaskedLM"),
    "Gemma 3, with vision": vision_language(
        "Gemma3", {"head_dim": 8}, VISION | {"model_type": "siglip_vision_model"}, mm_tokens_per_image=4
    ),
    "Llava": vision_language(
        "Llava", {"model_type": "llama"}, VISION | {"model_type": "clip_vision_model"}, image_token_index=5
    ),
    "Mistral3": vision_language(
        "Mistral3", {"model_type": "mistral"}, VISION | {"model_type": "pixtral"}, image_token_index=5
    ),
    "Qwen2-VL": vision_language(
        "Qwen2VL", {"rope_parameters": MROPE}, QWEN_VISION,
    ),
    "Qwen2.5-VL": vision_language("Qwen2_5_VL", {"rope_parameters": MROPE}, QWEN_VISION),
}  # fmt: skip
