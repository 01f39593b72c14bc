"""The metadata records of methods: every method module ends with ``METADATA = MethodMetadata(of=..., ...)``."""

from harness.base.metadata import Choice as Choice
from harness.base.metadata import Integer as Integer
from harness.base.metadata import MethodMetadata as MethodMetadata
from harness.base.metadata import Range as Range
from harness.base.metadata import Role as Role
from harness.base.metadata import Slot as Slot
from harness.base.metadata import Uniform as Uniform
from harness.base.metadata import Value as Value
from harness.base.metadata import defaults_of as defaults_of
