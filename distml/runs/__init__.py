"""What happened: records, events, units and bundles of runs, on any storage. No Ray in here.

Exports nothing: import the room you need (`from distml.runs.store import RunStore`), so that
`distml list` pays for the record and the storage alone.
"""
