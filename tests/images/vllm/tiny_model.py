"""Make a tiny Qwen2 of random weights in the directory given as the only argument.

It runs inside the image, with the transformers that vLLM brings. Its answers are noise; its
files, its tokenizer and its chat template are as real as those of a large model.
"""

from __future__ import annotations

import sys
from pathlib import Path

# These exist in the image only.
import torch  # type: ignore[import-not-found]
from tokenizers import (  # type: ignore[import-not-found]
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)
from transformers import (  # type: ignore[import-not-found]
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

END = "<|im_end|>"
START = "<|im_start|>"
VOCABULARY = 300  # the 256 bytes, two markers and some merges

TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# What the merges are learned from.
TEXT = (
    "the quick brown fox jumps over the lazy dog",
    "user system assistant",
    "hello how are you, I am a small model that says anything at all",
)


def main(target: Path) -> None:
    """Train the tokenizer, draw the weights, save both."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, chat_template=TEMPLATE
    )
    fast.save_pretrained(target)

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(fast),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=fast.convert_tokens_to_ids(START),
        eos_token_id=fast.convert_tokens_to_ids(END),
        pad_token_id=fast.convert_tokens_to_ids(END),
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
