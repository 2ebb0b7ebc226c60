"""Run ``shim/gentle.py``, for supervisors of older releases, which start this file."""

import os
import sys

__file__ = os.path.join(os.path.dirname(os.path.realpath(__file__)), "shim", "gentle.py")
sys.path[0] = os.path.dirname(__file__)
with open(__file__) as stream:
    program = stream.read()
exec(compile(program, __file__, "exec"))
