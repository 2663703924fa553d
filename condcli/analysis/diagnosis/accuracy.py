"""What accuracy and the last gradients say of data and labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

from condcli.analysis.diagnosis.finding import Finding
from condcli.analysis.diagnosis.network import Network
from condcli.analysis.diagnosis.thresholds import Thresholds
from condcli.stats import Provenance

_UNTRAINED = 10  # steps
_FITTED_ACCURACY, _FITTED_LOSS = 0.99, 0.05
_UNIFORM = 0.9  # of ln C: a loss below tells that the scores know more than the accuracy says
_FEWEST_CLASSES = 4  # of fewer, errors are as even as they can be anyhow
_ROWS_A_CLASS = 20
_LEAST_ERRORS = 0.05  # share of rows
_LEAST_LEARNT = 0.25  # accuracy above chance: a network that has learnt nothing errs evenly, too


def no_better_than_chance(facts: Provenance) -> bool:
    """Whether the accuracy on real data is at most two standard errors above the best constant."""
    accuracy, chance = facts.accuracy, facts.chance
    if accuracy is None or chance is None or facts.data_source.startswith("random:"):
        return False
    error = math.sqrt(chance * (1 - chance) / facts.loss_terms)
    return accuracy <= chance + 2 * error


def is_fitted(facts: Provenance) -> bool:
    """Whether so little loss is left that all gradients are small."""
    if facts.accuracy is not None and facts.accuracy >= _FITTED_ACCURACY:
        return True
    return facts.loss < _FITTED_LOSS


def is_worse_than_uniform(facts: Provenance, classes: int) -> bool:
    """Whether the loss is above that of naming all classes alike, or is of another kind."""
    return facts.accuracy is None or facts.loss > math.log(classes)


def chance_level(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding where the network guesses, unless its file says that it is hardly trained.

    A note where its loss is well below that of naming all classes alike: labels are then so uneven,
    or so few of the classes, that the accuracy alone tells little.
    """
    facts = network.provenance
    untrained = facts.step is not None and facts.step <= _UNTRAINED
    if untrained or not no_better_than_chance(facts):
        return
    accuracy, chance = facts.accuracy or 0.0, facts.chance or 0.0
    classes = network.maps[-1].d_out if network.maps else 2
    yield Finding(
        rule="chance-accuracy",
        severity="note" if facts.loss < _UNIFORM * math.log(classes) else "error",
        layers=(),
        title="accuracy is no better than that of guessing",
        evidence=f"accuracy {100 * accuracy:.3g} % on {facts.loss_terms} labels, and "
        f"{100 * chance:.3g} % for always naming the commonest; {facts.loss_name} {facts.loss:.3g}",
        numbers={"accuracy": accuracy, "chance": chance, "loss": facts.loss},
        mechanism="Unless it is untrained or collapsed, a network guesses on inputs that were "
        "prepared in another way than in its training; every other number is then of no use.",
        source="docs/data.md",
        remedy="Check --normalize, --transform, --tokenizer, the order of channels and of labels.",
    )


def even_errors(network: Network, thresholds: Thresholds) -> Iterator[Finding]:
    """A finding where a trained network's errors fall alike on all classes, as wrong labels do.

    Only gradients at the true labels tell of errors.
    """
    facts, last = network.provenance, network.last_linear
    accuracy, chance = facts.accuracy, facts.chance
    if facts.fisher != "empirical":
        return
    if last is None or accuracy is None or chance is None or accuracy < chance + _LEAST_LEARNT:
        return
    classes, rank = last.d_out, last.grad.effective_rank
    if classes < _FEWEST_CLASSES or last.rows < _ROWS_A_CLASS * classes or rank is None:
        return
    share, errors = rank / (classes - 1), 1 - accuracy
    if share < thresholds.even_errors or errors < _LEAST_ERRORS:
        return
    yield Finding(
        rule="even-errors",
        severity="warning",
        layers=(last.name,),
        title="the errors fall evenly on all classes, as those of wrong labels do",
        evidence=f"{100 * errors:.3g} % of the labels are missed, and Σ∇h of {last.name} has the "
        f"effective rank {rank:.3g} of {classes - 1}; {facts.loss_name} {facts.loss:.3g}",
        numbers={"errors": errors, "effective_rank": rank, "classes": classes, "loss": facts.loss},
        mechanism="A network confuses some classes more than others, which gives the gradients of "
        "its scores a few leading directions; labels changed at random have none.",
        source="paper, the Hessian of a linear classifier",
        remedy="Look at the labels with the largest losses; check that they belong to the inputs.",
    )
