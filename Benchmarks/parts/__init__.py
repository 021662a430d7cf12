"""The parts of the benchmark: each has `measure(options)`, which returns what its data file holds."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "Lab"))
