"""Suite files: what a paper claims and on what it is measured."""

from harness.suite.load import Suite as Suite
from harness.suite.load import load_suite as load_suite
