"""The methods that papers propose and the baselines they are compared with.

Every module holds one method, needs only torch and numpy, and never imports the harness::

    from methods.optimizers import AdamP
"""
