"""The one exception for mistakes a user can mend."""

__all__ = ["UserError"]


class UserError(ValueError):
    """A user's mistake: one line with what came, what was expected and what to do.

    The command line prints it without a traceback and exits with code 2.
    """
