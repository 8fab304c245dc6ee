"""Counts rows in memory, for tests of what streams."""

import weakref


class Held:
    """Counts the rows of all shards that are held at once, as tables."""

    def __init__(self):
        self.most_rows, self._rows = 0, {}

    def counting(self, read):
        def read_shard(dataset, *arguments, **more):
            table = read(dataset, *arguments, **more)
            key = object()
            self._rows[key] = table.num_rows
            weakref.finalize(table, self._rows.pop, key)
            self.most_rows = max(self.most_rows, sum(list(self._rows.values())))
            return table

        return read_shard
