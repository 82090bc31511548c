"""Small reference networks, users' own networks, and parameters as one vector."""

from expunge.networks.cnn import CNN
from expunge.networks.frozen import OrientedFilters, RandomFeatures
from expunge.networks.lstm import LSTM
from expunge.networks.mlp import MLP
from expunge.networks.monotone import MonotoneMLP, SignedLinear
from expunge.networks.network import Imported, InPython, Network, check_fit, initialise, needs_two_records
from expunge.networks.parameters import Layout, State, layout, state_of
from expunge.networks.resnet import ResNet
from expunge.networks.trends import Trends

__all__ = [
    "CNN",
    "LSTM",
    "MLP",
    "Imported",
    "InPython",
    "Layout",
    "MonotoneMLP",
    "Network",
    "OrientedFilters",
    "RandomFeatures",
    "ResNet",
    "SignedLinear",
    "State",
    "Trends",
    "check_fit",
    "initialise",
    "layout",
    "needs_two_records",
    "state_of",
]
