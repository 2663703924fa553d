"""What the analyses assume unless told; apart, so that `--help` shows it without loading NumPy."""

PERCENTAGES = (100.0, 80.0, 50.0)  # the paper's p
PERCENT = 80.0  # the one that is followed over a run

# One step W − η·∂L/∂W moves σ_max(W) by at most η·σ_max(∂L/∂W) (Weyl). So below a ratio of 1e-4, at
# the common learning rate η = 0.1, even a thousand steps all in one direction move it by under 1 %.
DOMINATION_THRESHOLD = 1e-4

# What can be followed over a run, with its meaning in condcli.analysis.metrics.
METRIC_NAMES = (
    "loss",
    "accuracy",
    "lambda_max_input",
    "lambda_max_grad",
    "lambda_max",
    "kappa_input",
    "kappa_grad",
    "kappa",
    "ratio",
    "sigma_max_weight",
    "sigma_max_grad",
    "weight_norm",
    "weight_grad_norm",
    "grad_moment_lambda_max",
    "dying",
    "full",
    "saturated",
)
