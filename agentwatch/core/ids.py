"""What a session's id, and what a project's or team's name may be. The SDK asks it for each client
that is made, so nothing is loaded for it."""

from __future__ import annotations

import re

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/ -]{0,127}", re.ASCII)
#: the same two for people
ID_RULE = "1 to 128 of the ASCII characters A-Z a-z 0-9 . _ : - (a letter or digit first)"
RULE = "1 to 128 of the ASCII characters A-Z a-z 0-9 . _ : / - and blank (a letter or digit first)"
