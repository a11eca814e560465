"""What the numbers of ``metrics.json`` are called in tables: said once, beside the function that measures them."""

from collections.abc import Callable, Mapping

__all__ = ["labelled", "metric_labels"]


def labelled[F: Callable](labels: Mapping[str, str]) -> Callable[[F], F]:
    """Give a function that measures a run the labels of its numbers, in the order of a table's rows."""

    def mark(function: F) -> F:
        function.labels = dict(labels)
        return function

    return mark


def metric_labels(function: Callable) -> dict[str, str] | None:
    """The labels of what ``function`` measures; None for a function that has none."""
    return getattr(function, "labels", None)
