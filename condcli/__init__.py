"""Layer-wise conditioning analysis of trained networks (Huang et al., ECCV 2020)."""

__version__ = "0.1.0"
