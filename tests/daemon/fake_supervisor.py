"""The real supervisor, over the fake serving process."""

import sys
from pathlib import Path

from agentwatch.daemon.__main__ import main

sys.exit(main(sys.argv[1:], (sys.executable, str(Path(__file__).with_name("fake_serving.py")))))
