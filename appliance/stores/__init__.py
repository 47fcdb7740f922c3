"""What must outlive the process: who is signed in, and what was done."""

from typing import Protocol


class Audit(Protocol):
    """The record of what people did."""

    def note(self, what: str, *, user: str = "", address: str = "", detail: str = "") -> None:
        """Append one event; returns at once, from any thread.

        Args:
            what: as "sign_in", "sign_in_refused", "sign_out", "session_revoked", "override_set",
                "override_cleared", "export", "model_change", "clock_jump".
            user: who did it; empty where nobody is known.
            address: from where.
            detail: what a reader wants to know beside; never a secret.
        """
