"""How do states run along a text? Elman's network, LSTM and GRU, in one direction or two.

The layers that train are torch's own; the equations below are theirs. x_t is the input at token t, h_t the state, σ the
logistic function, ⊙ the product by element, W and U matrices, b and c biases:

rnn    h_t = act(W x_t + b + U h_{t-1} + c), act is tanh or relu
lstm   i, f, o = σ(W x_t + b + U h_{t-1} + c), g = tanh(W x_t + b + U h_{t-1} + c), each with its own weights
       s_t = f ⊙ s_{t-1} + i ⊙ g;  h_t = o ⊙ tanh(s_t)
gru    r, z = σ(W x_t + b + U h_{t-1} + c), n = tanh(W x_t + b + r ⊙ (U h_{t-1} + c)), each with its own weights
       h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}

rnn: Elman 1990, Finding Structure in Time. lstm: Hochreiter & Schmidhuber 1997, Long Short-Term Memory, with the forget
gate f of Gers et al. 2000. gru: Cho et al. 2014, arXiv:1406.1078, the reset gate r behind the product, as in cuDNN.

Two directions (Schuster & Paliwal 1997) are two layers, one of which reads each text from its own last token to its
first. torch's `bidirectional=True` would start at the end of the padding, which then is in every state, or needs packed
sequences, which torch's dynamo exporter does not take. B rows of a batch, T padded tokens, I values in, H values of one
direction, D of all.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from app.bundle.vectors import VectorInput
from training.modeling.scratch.embedding import embedding
from training.recipe.encoder import RecurrentEncoder

Cell = Callable[[int, int], nn.RNNBase]  # values in, values of a state → a layer over [B, T, values]


class RecurrentTrunk(nn.Module):
    """Embedded tokens, or vectors, then one layer over the other; dropout (Zaremba et al., arXiv:1409.2329) before each
    layer and after the last, never between two tokens.
    """

    def __init__(self, table: RecurrentEncoder, vocabulary: int | VectorInput) -> None:
        super().__init__()
        self.hidden = table.hidden * (2 if table.bidirectional else 1)
        self.architecture = f"{table.kind}, {'two directions' if table.bidirectional else 'one direction'}"
        self.embedding = embedding(vocabulary, table.embedding)
        self.dropout = nn.Dropout(table.dropout)
        widths = [table.embedding, *[self.hidden] * (table.layers - 1)]
        self.layers = nn.ModuleList(
            RecurrentLayer(_cell(table), width, table.hidden, is_bidirectional=table.bidirectional) for width in widths
        )

    def forward(self, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> torch.Tensor:
        """The states [B, T, D] of every token, or of every vector of [B, T, F]; those of padding mean nothing and reach
        no others.
        """
        states_BTD: torch.Tensor = self.dropout(self.embedding(ids_BT))
        places_BT = reversed_places(mask_BT)
        for layer in self.layers:
            states_BTD = self.dropout(layer(states_BTD, places_BT))
        return states_BTD


class RecurrentLayer(nn.Module):
    """One layer along the text, and one against it whose states stand beside the first's.

    Args:
        cell: makes one direction.
        inputs: values in.
        hidden: values of one direction.
        is_bidirectional: whether there is the second.
    """

    def __init__(self, cell: Cell, inputs: int, hidden: int, *, is_bidirectional: bool) -> None:
        super().__init__()
        self.along = cell(inputs, hidden)
        self.against = cell(inputs, hidden) if is_bidirectional else None

    def forward(self, inputs_BTI: torch.Tensor, places_BT: torch.Tensor) -> torch.Tensor:
        """The states [B, T, D]; `places_BT` as `reversed_places` gives them."""
        along_BTH: torch.Tensor = self.along(inputs_BTI)[0]
        if self.against is None:
            return along_BTH
        against_BTH: torch.Tensor = self.against(_take(inputs_BTI, places_BT))[0]
        return torch.cat([along_BTH, _take(against_BTH, places_BT)], dim=-1)


def reversed_places(mask_BT: torch.Tensor) -> torch.Tensor:
    """Where each token of a text stands when the text is turned round; padding stays in its place. Done twice, it is
    undone.

    torch.flip would turn the padding to the front, and freezes the length when it is exported.
    """
    places_T = torch.arange(mask_BT.shape[1], device=mask_BT.device)
    lengths_B1 = mask_BT.sum(dim=1, keepdim=True)
    return torch.where(places_T < lengths_B1, lengths_B1 - 1 - places_T, places_T)


def _take(values_BTD: torch.Tensor, places_BT: torch.Tensor) -> torch.Tensor:
    return values_BTD.gather(1, places_BT.unsqueeze(-1).expand(-1, -1, values_BTD.shape[-1]))


def _cell(table: RecurrentEncoder) -> Cell:
    match table.kind:
        case "rnn":
            return partial(nn.RNN, nonlinearity=table.activation or "tanh", batch_first=True)
        case "lstm":
            return partial(nn.LSTM, batch_first=True)
        case "gru":
            return partial(nn.GRU, batch_first=True)
