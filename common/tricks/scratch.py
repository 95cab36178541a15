"""What `scratch` stands for: a small BERT with random weights, whose tokenizer is trained on the training text."""

from collections import Counter
from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.trainers import WordPieceTrainer
from transformers import BertConfig, BertTokenizerFast, PreTrainedTokenizerBase

SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
VOCABULARY = 4000
ALPHABET = 1000  # the most frequent characters; a row's others are unknown
INITIALIZER_RANGE = 0.06  # at 128, BERT's 0.02 for 768 learns the bundled samples 12 to 18 points worse


def train_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerBase:
    """A lower-case WordPiece tokenizer, the same one in every process.

    The trainer of `tokenizers` numbers the pieces that it finds in the random order of a hash table, and breaks ties
    between merges by those numbers: a resumed run, or another process of the same run, would get another vocabulary. So
    all characters, alone and as the rest of a word, are numbered before it starts.
    """
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    bert = BertTokenizerFast().backend_tokenizer
    counts = Counter(
        character for text in texts for character in bert.normalizer.normalize_str(text) if not character.isspace()
    )
    alphabet = sorted(sorted(counts, key=lambda character: (-counts[character], character))[:ALPHABET])
    trainer = WordPieceTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*special, *(f"##{character}" for character in alphabet)],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    trained = Tokenizer(WordPiece(unk_token="[UNK]"))
    trained.normalizer = bert.normalizer
    trained.pre_tokenizer = bert.pre_tokenizer
    trained.train_from_iterator(texts, trainer)
    return BertTokenizerFast(
        vocab=dict(sorted(trained.get_vocab().items(), key=lambda item: item[1])), model_max_length=512
    )


def scratch_config(tokenizer: PreTrainedTokenizerBase, **labels: dict) -> BertConfig:
    """The encoder that `scratch` stands for, with embeddings for every token of the tokenizer."""
    return BertConfig(
        **SIZES,
        vocab_size=len(tokenizer),
        initializer_range=INITIALIZER_RANGE,
        pad_token_id=tokenizer.pad_token_id,
        **labels,
    )
