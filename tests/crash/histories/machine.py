"""A history: all rules that Hypothesis draws from, and how it begins."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize

from tests.crash.histories.ending import Ending
from tests.crash.histories.faults import Faults
from tests.crash.histories.limits import Limits
from tests.crash.histories.trouble import ANY_WORK, Trouble


class History(Trouble, Limits, Faults, Ending):
    """One history."""

    @initialize(
        sizes=st.lists(st.integers(1, 3), min_size=1, max_size=3),
        shared=st.booleans(),
        frozen=st.booleans(),
        attached=st.sampled_from(("not", "reserved", "connected", "complete")),
        peaceful=st.sampled_from((False, False, False, False, False, True)),
        trouble=ANY_WORK,
    )
    def begin(
        self,
        sizes: list[int],
        shared: bool,
        frozen: bool,
        attached: str,
        peaceful: bool,
        trouble: dict[str, Any],
    ) -> None:
        """Some volumes, the first with a snapshot and an attachment, perhaps.

        In peaceful histories nothing goes wrong, so that the model knows more.
        """
        self.peaceful = peaceful
        with self.noticing():
            for number, size in enumerate(sizes):
                more = {"volume_type": "shared"} if shared and number == 0 else {}
                self.create_volume(
                    {"size": size, **more}, size, False, False, shared=shared and number == 0
                )
                self.look_at(self.volumes[-1])
            if frozen:
                self.snap(self.volumes[0])
            if attached != "not":
                self.attach_to(self.volumes[0], 0, connected=attached != "reserved")
            if attached == "complete":
                self.complete_use(*self.uses[0])
            if not peaceful:
                self.work_in_trouble(number=0, **trouble)
