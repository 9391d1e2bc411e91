"""How do layers of attention become an encoder? (Vaswani et al. 2017, arXiv:1706.03762, section 3.)

Layer normalisation stands behind each sum (`post`, as published) or before each part (`pre`, Xiong et al. 2020,
arXiv:2002.04745: no long warm-up is needed), with one more at the end. B rows of a batch, T padded tokens, D values
of a state.
"""

import math
from typing import cast

import torch
from torch import nn

from app.bundle.vectors import VectorInput
from training.modeling.scratch.attention import SelfAttention, Turns, padding_bias
from training.modeling.scratch.embedding import embedding
from training.modeling.scratch.positions import sinusoids, turns
from training.recipe.encoder import TransformerEncoder


class TransformerTrunk(nn.Module):
    """Embedded tokens, or vectors, with their positions, then one layer over the other."""

    def __init__(self, table: TransformerEncoder, vocabulary: int | VectorInput) -> None:
        super().__init__()
        self.hidden = table.hidden
        self.architecture = f"transformer, {table.positions} positions, {table.norm}-norm, {table.heads} heads"
        self.positions = table.positions
        self.embedding = embedding(vocabulary, table.hidden)
        self.scale = 1.0
        if isinstance(self.embedding, nn.Embedding):
            self.scale = math.sqrt(table.hidden)  # section 3.4
            nn.init.normal_(self.embedding.weight, std=table.hidden**-0.5)
        self._add_positions(table)
        self.dropout = nn.Dropout(table.dropout)
        self.layers = nn.ModuleList(TransformerLayer(table) for _ in range(table.layers))
        self.last_norm = nn.LayerNorm(table.hidden) if table.norm == "pre" else nn.Identity()

    def _add_positions(self, table: TransformerEncoder) -> None:
        """Tables over all positions. What is computed is no weight, and is not stored."""
        if table.positions == "learned":
            self.position_embedding = nn.Embedding(table.max_tokens, table.hidden)
            nn.init.normal_(self.position_embedding.weight, std=0.02)  # BERT's
        elif table.positions == "sinusoidal":
            self.register_buffer("waves_TD", sinusoids(table.max_tokens, table.hidden), persistent=False)
        else:
            cos_TP, sin_TP = turns(table.max_tokens, table.hidden // table.heads)
            self.register_buffer("cos_TP", cos_TP, persistent=False)
            self.register_buffer("sin_TP", sin_TP, persistent=False)

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The states [B, T, D] of every token, or of every vector of [B, T, F]; those of padding mean nothing and reach
        no others.
        """
        tokens = ids_BT.shape[1]
        states_BTD = self.embedding(ids_BT) * self.scale
        if self.positions == "learned":
            states_BTD = states_BTD + self.position_embedding.weight[:tokens]
        elif self.positions == "sinusoidal":
            states_BTD = states_BTD + self.waves_TD[:tokens]
        rotary = (self.cos_TP[:tokens], self.sin_TP[:tokens]) if self.positions == "rotary" else None
        states_BTD = self.dropout(states_BTD)
        bias_B11T = padding_bias(mask_BT, states_BTD.dtype)
        for layer in self.layers:
            states_BTD = layer(states_BTD, bias_B11T, rotary)
        last_BTD: torch.Tensor = self.last_norm(states_BTD)
        return last_BTD

    waves_TD: torch.Tensor
    cos_TP: torch.Tensor
    sin_TP: torch.Tensor


class TransformerLayer(nn.Module):
    """Attention and FFN(x) = max(0, x W_up + b) W_down + c (section 3.3), each beside a way past it (3.1)."""

    def __init__(self, table: TransformerEncoder) -> None:
        super().__init__()
        self.is_pre_norm = table.norm == "pre"
        self.attention = SelfAttention(table.hidden, table.heads)
        self.attention_norm = nn.LayerNorm(table.hidden)
        self.up = nn.Linear(table.hidden, table.feed_forward)
        self.down = nn.Linear(table.feed_forward, table.hidden)
        self.feed_forward_norm = nn.LayerNorm(table.hidden)
        self.dropout = nn.Dropout(table.dropout)

    def forward(self, states_BTD: torch.Tensor, bias_B11T: torch.Tensor, turns: Turns | None) -> torch.Tensor:
        """The states [B, T, D] after this layer."""
        if self.is_pre_norm:
            taken_BTD = self.attention(self.attention_norm(states_BTD), bias_B11T, turns)
            states_BTD = states_BTD + self.dropout(taken_BTD)
            fed_BTD = self._feed_forward(self.feed_forward_norm(states_BTD))
            return states_BTD + cast(torch.Tensor, self.dropout(fed_BTD))
        taken_BTD = self.attention(states_BTD, bias_B11T, turns)
        states_BTD = self.attention_norm(states_BTD + self.dropout(taken_BTD))
        fed_BTD = self._feed_forward(states_BTD)
        return cast(torch.Tensor, self.feed_forward_norm(states_BTD + self.dropout(fed_BTD)))

    def _feed_forward(self, states_BTD: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.down(torch.relu(self.up(states_BTD))))
