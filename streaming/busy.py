"""What is said where there is no room for more."""


class Busy(RuntimeError):
    """There is no room for another stream, or another piece of work.

    Attributes:
        retry_after: seconds after which to ask again.
    """

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
