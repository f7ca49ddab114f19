"""`python -m resnet_lab` is `resnet-lab`."""

from __future__ import annotations

import sys

from resnet_lab.cli import main

sys.exit(main())
