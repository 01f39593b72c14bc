"""Results from elsewhere as trials of a suite: read (tables, trackers), named as the suite names them, journalled.

``sources`` finds out what a path is and reads it; ``mapping`` says which of its names is which of the suite's;
``trials`` makes trials of it; ``record`` journals them. ``harness.judge.imported`` judges them.
"""
