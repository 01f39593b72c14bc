"""External results as trials of a suite, or judged alone.

``sources`` detects the kind of a path and reads it; ``mapping`` says which of its names is which of the suite's;
``trials`` makes trials of it; ``record`` stores them. ``harness.judge.imported`` judges them.
"""
