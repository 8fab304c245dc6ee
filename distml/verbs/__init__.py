"""The commands beside `run list show logs resume stop`: a module each, loaded when it is called.

A command that does work starts a job file through the driver, as `run` does; none imports a task.
"""
