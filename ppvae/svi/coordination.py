"""What the processes of one training must agree on: when to end, when to save, and that one of them failed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.distributed as dist

from ppvae.errors import Diverged, UserError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Coordination", "Wishes"]


class Wishes(NamedTuple):
    """What is wanted after a step: to end with exit code ``code`` (0: to go on), to ``save``."""

    code: int
    save: bool


class Coordination:
    """Lets all processes of a training do the same; alone there is nobody to ask.

    ``wishes`` tells this process's. They travel between CPUs while a step is computed, which does not wait for them.
    """

    def __init__(self, fabric: "Fabric", wishes: Callable[[], Wishes]) -> None:
        self.wishes = wishes
        self.several = fabric.world_size > 1
        self.group = dist.new_group(backend="gloo") if self.several else None
        self.sent: tuple[torch.Tensor, Any] | None = None
        self.failure: UserError | None = None

    def ahead(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The same batches; each of several processes has its next one at hand before it works on one.

        :meth:`heard` must follow each. Errors: :class:`~ppvae.errors.UserError` in all processes where one of them
        cannot have its batch.
        """
        if not self.several:
            yield from batches
            return
        with self.one_error_for_all():
            upcoming = next(batches, None)
        while upcoming is not None:
            batch = upcoming
            try:
                upcoming = next(batches, None)
            except UserError as error:
                self.failure = error
            self._send()
            yield batch

    def _send(self) -> None:
        flags = torch.tensor([*self.wishes(), self.failure is not None], dtype=torch.int32)
        self.sent = flags, dist.all_reduce(flags, dist.ReduceOp.MAX, group=self.group, async_op=True)

    def heard(self) -> Wishes:
        """What any process wished for when this step began, the same in all; alone what is wished for now."""
        if not self.several:
            return self.wishes()
        flags, work = self.sent
        work.wait()
        code, save, failed = flags.tolist()
        if failed:
            with self.one_error_for_all():
                if self.failure is not None:
                    raise self.failure
        return Wishes(code, bool(save))

    def code(self) -> int:
        """The exit code that all are to end with, 0: to go on; asked of all now."""
        return max(self.of_all(self.wishes().code))

    @contextmanager
    def one_error_for_all(self) -> Iterator[None]:
        """A user's mistake that one process finds inside is raised in all, after all of them have been there."""
        found = None
        try:
            yield
        except UserError as error:
            if not self.several:
                raise
            found = isinstance(error, Diverged), str(error)
        for diverged, said in filter(None, self.of_all(found)):
            mistake = (Diverged if diverged else UserError)(said)
            mistake.of_all = True  # each process has it, one will tell it
            raise mistake

    def of_all(self, value: Any) -> list[Any]:
        """Every process's value."""
        values = [value]
        if self.several:
            values *= dist.get_world_size()
            dist.all_gather_object(values, value, group=self.group)
        return values
