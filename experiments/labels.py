"""What the numbers of ``metrics.json`` are called in tables: said once, beside the function that measures them."""

from collections.abc import Callable, Mapping

from ppvae.nouns import IMAGE, Noun

__all__ = ["labelled", "metric_labels"]

type Labels = Mapping[str, str] | Callable[[Noun], Mapping[str, str]]


def labelled[F: Callable](labels: Labels) -> Callable[[F], F]:
    """Give a function that measures a run the labels of its numbers, in the order of a table's rows.

    ``labels``: by number, or a function that makes them for what the data are of.
    """

    def mark(function: F) -> F:
        function.labels = labels  # type: ignore[attr-defined]  # any function takes attributes
        return function

    return mark


def metric_labels(function: Callable, noun: Noun = IMAGE) -> dict[str, str] | None:
    """The labels of what ``function`` measures of images or rows; None for a function that has none."""
    labels = getattr(function, "labels", None)
    return labels if labels is None else dict(labels(noun) if callable(labels) else labels)
