"""Suite files: what a paper claims and on what it is measured."""

from harness.suite.check import load_suite as load_suite
from harness.suite.load import Suite as Suite
from harness.suite.plain import suite_from_dict as suite_from_dict
from harness.suite.plain import suite_from_json as suite_from_json
from harness.suite.plain import suite_to_json as suite_to_json
from harness.suite.plain import suite_to_yaml as suite_to_yaml
