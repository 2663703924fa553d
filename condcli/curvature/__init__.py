"""The exact curvature of a network: the matrices that Σ_x ⊗ Σ_∇h stands for."""
