"""R-BERT over any encoder of transformers: Wu & He 2019 "Enriching Pre-trained Language Model with Entity Information
for Relation Classification" (arXiv 1905.08284), section 3.2, and its variations.

model = load_relation_model(args, label_names, tokenizer, {"head": "rbert", "concat": ["cls", "e1", "e2", "|e1-e2|"]})
model.save_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder)  # or RBertForRelationExtraction
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from common.console import print_once
from common.decoders.family import is_decoder, last_state
from common.decoders.loading import options_of
from common.decoders.segments import PairFormat
from common.guards.first_pass import fit_model
from common.guards.weights import load_pretrained
from common.models import BROKEN_FILES, load_model, unavailable
from common.targets import label_config

# Options of RBertConfig that TaskArguments has by the same names.
HEAD_FIELDS = ("head", "entity_layer", "activation", "concat", "cls_pooling", "dropout")
ACTIVATIONS = {"tanh": torch.tanh, "gelu": F.gelu}
# Of the sentence's and both entities' vectors, (B, H) each. Products and differences: Reimers & Gurevych 2019
# (Sentence-BERT), table 6.
CONCATENATIONS = {
    "cls": lambda cls, e1, e2: cls,
    "e1": lambda cls, e1, e2: e1,
    "e2": lambda cls, e1, e2: e2,
    "e1*e2": lambda cls, e1, e2: e1 * e2,
    "|e1-e2|": lambda cls, e1, e2: (e1 - e2).abs(),
    "cls*e1": lambda cls, e1, e2: cls * e1,
    "cls*e2": lambda cls, e1, e2: cls * e2,
}


# Of the states (B, T, H) and the attention mask (B, T).
SENTENCE_VECTORS = {
    "first": lambda states, mask: last_state(states.flip(1), mask.flip(1)),  # not of what pads in front
    "last": last_state,
    "mean": lambda states, mask: mean_over(states, mask),
}


class RBertConfig(PretrainedConfig):
    """The encoder's own configuration as a dict, and the options of the head; see RelationHead for these.

    cls_pooling: pooler (the encoder's; it must have one), first, last (of a decoder, whose first token sees nothing) or
    mean. num_ner_types: rows of an embedding of entity
    types that is added to the word embeddings, beside row 0 for all other tokens; 0: there is none.
    """

    model_type = "r_bert"

    def __init__(
        self,
        encoder_config: dict[str, Any] | None = None,
        head: str = "rbert",
        entity_layer: str = "split",
        activation: str = "tanh",
        concat: Sequence[str] = ("cls", "e1", "e2"),
        cls_pooling: str = "first",
        dropout: float = 0.1,
        num_ner_types: int = 0,
        **kwargs: Any,
    ):
        self.encoder_config = encoder_config
        self.initializer_range = (encoder_config or {}).get("initializer_range", 0.02)  # of the head, too
        self.head = head
        self.entity_layer = entity_layer
        self.activation = activation
        self.concat = list(concat)
        self.cls_pooling = cls_pooling
        self.dropout = dropout
        self.num_ner_types = num_ner_types
        super().__init__(**kwargs)


class RelationHead(nn.Module):
    """From the vectors of the sentence and of both entities, (B, H) each, to logits (B, C): equations 1 to 4 of the
    paper.

    H'_0 = W_0 a(H_0) + b_0, H'_1 = W_1 a(H_1) + b_1, H'_2 = W_2 a(H_2) + b_2, with a = tanh in the paper, and W_1 =
    W_2, b_1 = b_2 there (entity_layer shared); logits = W_3 [H'_0; H'_1; H'_2] + b_3, or another concatenation. Dropout
    in front of each of these layers. indicators: a fourth vector of its own layer, at the end of the concatenation.
    """

    def __init__(self, hidden_size: int, num_labels: int, config: RBertConfig):
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        self.concat = config.concat
        self.dropout = nn.Dropout(config.dropout)
        shared = {"e1": "entity", "e2": "entity"} if config.entity_layer == "shared" else {}
        # vector -> its layer; a vector that no term reads has none, because weights without gradients stop a run on
        # several GPUs
        self.layer_of = {
            name: shared.get(name, name) for name in ("cls", "e1", "e2") if any(name in term for term in config.concat)
        }
        if config.head == "indicators":
            self.layer_of["indicators"] = "indicators"
        self.layers = nn.ModuleDict(
            {name: nn.Linear(hidden_size, hidden_size) for name in dict.fromkeys(self.layer_of.values())}
        )
        self.classifier = nn.Linear(hidden_size * (len(config.concat) + (config.head == "indicators")), num_labels)

    def forward(self, cls: Tensor, e1: Tensor, e2: Tensor, indicators: Tensor | None = None) -> Tensor:
        vectors = {"cls": cls, "e1": e1, "e2": e2, "indicators": indicators}
        for name, layer in self.layer_of.items():
            vectors[name] = self.layers[layer](self.activation(self.dropout(vectors[name])))
        parts = [CONCATENATIONS[term](vectors["cls"], vectors["e1"], vectors["e2"]) for term in self.concat]
        if "indicators" in self.layer_of:
            parts.append(vectors["indicators"])
        return self.classifier(self.dropout(torch.cat(parts, dim=-1)))


class RBertForRelationExtraction(PreTrainedModel):
    """An encoder and a RelationHead. encoder: a pretrained one, or None for random weights (which from_pretrained then
    replaces)."""

    config_class = RBertConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False  # because the Trainer would take forward()'s **_ for a place for the loss's arguments

    def __init__(self, config: RBertConfig, encoder: PreTrainedModel | None = None):
        super().__init__(config)
        encoder_config = AutoConfig.for_model(**config.encoder_config)
        self.encoder = AutoModel.from_config(encoder_config, trust_remote_code=False) if encoder is None else encoder
        if config.cls_pooling != "pooler" and has_pooler(self.encoder):
            self.encoder.pooler = None  # because weights without gradients stop a run on several GPUs
        self.ner_embedding = None
        if config.num_ner_types:
            width = self.encoder.get_input_embeddings().embedding_dim
            self.ner_embedding = nn.Embedding(1 + config.num_ner_types, width, padding_idx=0)
        self.head = RelationHead(encoder_config.hidden_size, config.num_labels, config)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        e1_mask: Tensor,
        e2_mask: Tensor,
        indicator_mask: Tensor | None = None,
        ner_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits (B, C) and, with labels (B,), the mean cross-entropy. All else is (B, T), as entities.tokenize() gives
        it.

        What else comes is not used: peft passes inputs_embeds, output_attentions, output_hidden_states and return_dict
        to every classifier, empty or not.
        """
        vectors = self.pool(input_ids, attention_mask, e1_mask, e2_mask, indicator_mask, ner_ids, token_type_ids)
        logits = self.head(*vectors)
        return SequenceClassifierOutput(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)

    def pool(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        e1_mask: Tensor,
        e2_mask: Tensor,
        indicator_mask: Tensor | None = None,
        ner_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
    ) -> list[Tensor]:
        """The head's inputs, (B, H) each: H_0, the entities' averages in equations 1 and 2, and (head indicators) the
        indicators'."""
        inputs = {"attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        if self.ner_embedding is None:
            inputs["input_ids"] = input_ids
        else:
            words = self.encoder.get_input_embeddings()(input_ids)
            inputs["inputs_embeds"] = words + self.ner_embedding(ner_ids).to(words.dtype)
        output = self.encoder(**inputs)
        states = output.last_hidden_state  # (B, T, H)
        if self.config.cls_pooling == "pooler":
            cls = output.pooler_output
        else:
            cls = SENTENCE_VECTORS[self.config.cls_pooling](states, attention_mask)
        masks = [e1_mask, e2_mask] + ([indicator_mask] if self.config.head == "indicators" else [])
        return [cls, *(mean_over(states, mask) for mask in masks)]


def mean_over(states: Tensor, mask: Tensor) -> Tensor:
    """(B, H) means of the states (B, T, H) where mask (B, T) is 1; zeros where it is 0 everywhere (nothing between two
    entities, say)."""
    mask = mask.to(states.dtype)
    return torch.einsum("bth,bt->bh", states, mask) / mask.sum(1, keepdim=True).clamp(min=1)


def has_pooler(encoder: PreTrainedModel) -> bool:
    """Whether the family has a pooler over the first token (BERT, RoBERTa, XLM-R do; ELECTRA, DeBERTa, DistilBERT do
    not)."""
    return "pooler" in dict(encoder.named_children())


def head_options(args: Any, num_ner_types: int) -> dict[str, Any]:
    """Those of RBertConfig, from the fields of TaskArguments and the number of types that an embedding has, or 0."""
    return {**{name: getattr(args, name) for name in HEAD_FIELDS}, "num_ner_types": num_ner_types}


def load_relation_model(
    args: Any,
    label_names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    options: dict[str, Any],
    special_tokens: Sequence[str] = (),
) -> PreTrainedModel:
    """A relation classifier in float32 over the encoder of args.model_name_or_path (`scratch`: BERT of 2 layers with
    random weights), its word embeddings frozen where args say so.

    options: those of RBertConfig; {"head": "baseline"} gives AutoModelForSequenceClassification. special_tokens: of the
    tokenizer, new to the encoder; each begins as the mean of the pieces of its text. cls_pooling pooler becomes first
    where the encoder has no pretrained pooler, which is said. Raises InputError where there is no such model, or where
    weights of its encoder are missing.
    """
    scratch = args.model_name_or_path == "scratch"
    if options["head"] == "baseline":
        model = load_model(args, label_names, tokenizer)
        if not scratch:
            initialize_tokens(model, tokenizer, special_tokens)
        return model
    encoder = None
    has_pretrained_pooler = False
    if scratch:
        from common.tricks.scratch import scratch_config

        encoder_config = scratch_config(tokenizer)
    else:
        encoder, has_pretrained_pooler = load_encoder(args)
        fit_model(encoder, tokenizer)
        initialize_tokens(encoder, tokenizer, special_tokens)
        encoder_config = encoder.config
    if not scratch and options.get("cls_pooling", "first") == "first" and is_decoder(encoder_config):
        options = {**options, "cls_pooling": "last"}
        print_once("cls_pooling: the first token of a decoder sees nothing but itself, going on with last")
    elif not scratch and options.get("cls_pooling", "first") == "first" and ends_with_cls(tokenizer):
        options = {**options, "cls_pooling": "last"}
        print_once(f"cls_pooling: {tokenizer.cls_token} is the last token of a row, going on with last")
    if options.get("cls_pooling") == "pooler" and not has_pretrained_pooler:
        options = {**options, "cls_pooling": "first"}
        print_once(f"cls_pooling: {args.model_name_or_path} has no pretrained pooler, going on with first")
    config = RBertConfig(encoder_config=encoder_config.to_dict(), **options, **label_config(label_names))
    try:
        model = RBertForRelationExtraction(config, encoder)
    except BROKEN_FILES as error:  # the code that a repository brings cannot be rebuilt from its configuration alone
        raise unavailable(args.model_name_or_path, error) from error
    if args.freeze_word_embeddings:
        model.get_input_embeddings().weight.requires_grad_(False)
    return model


def load_encoder(args: Any) -> tuple[PreTrainedModel, bool]:
    """(the encoder of args.model_name_or_path in float32, whether it has a pretrained pooler). Raises InputError."""
    try:
        encoder, new = load_pretrained(AutoModel, args.model_name_or_path, args.trust_remote_code, **options_of(args))
    except BROKEN_FILES as error:
        raise unavailable(args.model_name_or_path, error) from error
    return encoder, has_pooler(encoder) and not new


def ends_with_cls(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the token that stands for the sentence is a row's last one, as XLNet has it."""
    return PairFormat.of(tokenizer).suffix[-1:] == [tokenizer.cls_token_id] != [tokenizer.sep_token_id]


@torch.no_grad()
def initialize_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, special_tokens: Sequence[str]
) -> None:
    """Give each new token the mean embedding of the pieces of its text ([E1-PER]: those of "E1 PER").

    transformers starts them all at nearly the same vector, where they would stay if word embeddings are frozen. So
    would those whose text is unknown to the vocabulary, or known as another's: each of these gets a vector of its own,
    drawn as the words' are spread.
    """
    weight = model.get_input_embeddings().weight
    mean, spread = weight.float().mean(0), weight.float().std(0)
    taken = set()
    for token in special_tokens:
        pieces = tokenizer(token.strip("[]").replace("-", " "), add_special_tokens=False)["input_ids"]
        known = tuple(piece for piece in pieces if piece != tokenizer.unk_token_id)
        of_its_own = known and known not in taken
        taken.add(known)
        vector = weight[list(known)].mean(0) if of_its_own else mean + spread * torch.randn_like(spread)
        weight[tokenizer.convert_tokens_to_ids(token)] = vector.to(weight.dtype)


AutoConfig.register(RBertConfig.model_type, RBertConfig, exist_ok=True)
AutoModelForSequenceClassification.register(RBertConfig, RBertForRelationExtraction, exist_ok=True)
