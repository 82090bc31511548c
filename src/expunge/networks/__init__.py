"""Small reference networks, users' own networks, and parameters as one vector."""

from expunge.networks.cnn import CNN
from expunge.networks.frozen import OrientedFilters, RandomFeatures
from expunge.networks.mlp import MLP
from expunge.networks.monotone import MonotoneMLP, SignedLinear
from expunge.networks.network import Imported, InPython, Network, initialise, needs_two_records
from expunge.networks.parameters import Layout, State, layout, state_of
from expunge.networks.resnet import ResNet

__all__ = [
    "CNN",
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
    "initialise",
    "layout",
    "needs_two_records",
    "state_of",
]
