"""`python -m queue_template` is `queue-template`."""

import sys

from queue_template.cli import main

sys.exit(main())
