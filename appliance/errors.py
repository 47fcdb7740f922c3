"""The errors a person may meet.

    ApplianceError
    ├── SettingsError   a variable is wrong; lists every problem at once
    ├── ListenError     an address or port cannot be listened on, which may pass by itself
    ├── ModelError      a card, its weights or its graph is wrong
    │   └── NoNumbersError      a model's output for a picture holds values that are no numbers
    ├── EngineError     an engine cannot be built, loaded or run
    │   ├── EngineStuckError    a single picture kept it for too long
    │   └── DeviceError         its device is at fault, as when it has no room
    │       └── DeviceLostError     this process can use the device no more
    ├── SourceError     a camera cannot be opened or read
    ├── PictureError    what a person brought is no picture, or none that may be read
    ├── StoreError      a folder or file cannot be read or written
    ├── DeliveryError   a bundle, an update or a backup cannot be made, or is not taken
    └── PublishError    a reading cannot be handed on

Each carries a hint: what a person who has no shell on the box can do about it.
"""


def escaped(text: str) -> str:
    """The text with what UTF-8 cannot say escaped: bytes of a file's name may be anything."""
    return text.encode("utf-8", "backslashreplace").decode()


class ApplianceError(Exception):
    """What went wrong, in one line, and what to do about it.

    Bytes in the name of a file that are no UTF-8 are escaped: no page could show them.

    Attributes:
        hint: the next step, for a person without a shell; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(escaped(message))
        self.hint = escaped(hint)

    def sentence(self) -> str:
        """Message and hint as one readable line."""
        return f"{self}. {self.hint}" if self.hint else str(self)


class SettingsError(ApplianceError):
    """One or more variables are wrong."""


class ListenError(ApplianceError):
    """An address or port cannot be listened on now; another try may do better."""


class ModelError(ApplianceError):
    """A model's card, weights or graph is wrong."""


class NoNumbersError(ModelError):
    """A model's output for a picture holds values that are no numbers: nothing is known of it."""


class EngineError(ApplianceError):
    """An engine cannot be built, loaded or run."""


class EngineStuckError(EngineError):
    """An engine was kept for too long by a single picture, and serves no more."""


class DeviceError(EngineError):
    """An engine's device is at fault, whatever the engine: it has no room, or is gone."""


class DeviceLostError(DeviceError):
    """This process can use the device no more; another process may."""


class SourceError(ApplianceError):
    """A camera or file cannot be opened or read."""


class PictureError(ApplianceError):
    """A picture that a person brought cannot be read, or may not be."""


class StoreError(ApplianceError):
    """A folder or file cannot be read or written."""


class DeliveryError(ApplianceError):
    """A bundle, an update or a backup cannot be made, or is not taken."""


class PublishError(ApplianceError):
    """A reading cannot be handed on."""
