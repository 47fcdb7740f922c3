"""Pictures that people bring: how large they may be, one reader, and a process for it.

`reading` turns a file's bytes into an image and loads nothing but Pillow; `pixels` gives it as an
array; `apart` does the same in a process of its own, for bytes that nobody vouches for.
"""

from dataclasses import dataclass

from appliance.errors import PictureError

LONGEST_SIDE = 1 << 15  # pixels; a strip that is longer is nothing that a camera has seen
BYTES_A_PIXEL = 24  # that reading one takes at its worst, with transparency and turned upright
SPARED_BYTES = 64_000_000  # for the rest of the station, meanwhile


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a picture may be.

    Attributes:
        megapixels: width times height, in millions.
        size_mb: of the file, in MB.
        is_memory_short: whether memory is what sets the megapixels, and no setting.
    """

    megapixels: int = 40
    size_mb: int = 10
    is_memory_short: bool = False

    def within(self, available_bytes: int) -> "Limits":
        """The same, with no more pixels than there is memory for; some is left to others.

        Args:
            available_bytes: that can be had now.
        """
        most = max(1, (available_bytes - SPARED_BYTES) // BYTES_A_PIXEL // 1_000_000)
        if most >= self.megapixels:
            return self
        return Limits(most, self.size_mb, is_memory_short=True)

    @property
    def size_bytes(self) -> int:
        """Of the file."""
        return self.size_mb * 1_000_000

    def check_bytes(self, size_bytes: int) -> None:
        """Refuse a file that is too large.

        Raises:
            PictureError: it is.
        """
        if size_bytes > self.size_bytes:
            raise PictureError(
                f"the file is larger than {self.size_mb} MB",
                hint="Save it smaller, or raise APPLIANCE_INSPECT__PICTURE_MB.",
            )

    def check_pixels(self, size_wh: tuple[int, int]) -> None:
        """Refuse a picture that is too large once it is unpacked.

        Raises:
            PictureError: it is.
        """
        if max(size_wh) > LONGEST_SIDE or size_wh[0] * size_wh[1] > self.megapixels * 1_000_000:
            width, height = size_wh
            raise PictureError(
                f"the picture has {width} × {height} pixels; {self.megapixels} megapixels and "
                f"{LONGEST_SIDE} pixels a side are the most",
                hint="Save it smaller, or give the station more memory: there is no more free."
                if self.is_memory_short
                else "Save it smaller, or raise APPLIANCE_INSPECT__PICTURE_MEGAPIXELS.",
            )
