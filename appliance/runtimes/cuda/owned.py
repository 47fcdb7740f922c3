"""What is taken from CUDA's driver, and given back once."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from appliance.errors import EngineError
from appliance.runtimes.cuda import Cuda


class Closing(ABC):
    """What must be closed, and is when its `with` ends."""

    @abstractmethod
    def close(self) -> None:
        """Give everything back; idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Owned(Closing):
    """Something of the driver's, given back once."""

    def __init__(self, cuda: Cuda, handle: Any, *, release: str) -> None:  # noqa: ANN401
        self._cuda = cuda
        self._handle = handle
        self._release = release

    @property
    def handle(self) -> Any:  # noqa: ANN401
        """As the driver's calls take it.

        Raises:
            EngineError: it is closed.
        """
        if self._handle is None:
            raise EngineError(f"{type(self).__name__.lower()}: used after it was closed")
        return self._handle

    @override
    def close(self) -> None:
        """Give it back; idempotent.

        Raises:
            DeviceError: the driver refuses.
        """
        handle, self._handle = self._handle, None
        if handle is not None:
            self._cuda.release(self._release, handle)
